"""Experiments as YAML: read strictly, with the line of whatever is wrong, and written back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import yaml

from probes.experiment import ExamplesFrom, Experiment, Negatives, Split, ThresholdRule
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from sonotheque.core.suggest import did_you_mean

_NESTED: Final = {"examples": ExamplesFrom, "negatives": Negatives, "split": Split, "threshold": ThresholdRule}
_TEXTS: Final = {"classes", "annotators"}
_WHOLE: Final = {"weak", "seed", "bootstrap", "folds"}
_NUMBERS: Final = {"weight", "test_share", "overlap_min_s", "value", "l2"}


def read_experiment(path: str | Path, **over: Any) -> Experiment:
    """Return the experiment that a YAML file describes.

    Parameters
    ----------
    path : path-like
    **over
        Values that take the place of the file's.

    Raises
    ------
    NotFound
        If there is no such file.
    Invalid
        (``invalid_table``) If it is no YAML, or a key or value cannot be right: file, line and key are named.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no experiment {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {error}", kind="invalid_table") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid(f"{file} is no YAML: {' '.join(str(error).split())}", kind="invalid_table") from error
    if not isinstance(values, dict):
        raise Invalid(f"{file}: expected keys and values, as in `name: owl`", kind="invalid_table")
    lines = _lines(node, ())

    def where(key: tuple[str, ...]) -> str:
        return f"{file}, line {lines.get(key, 1)}"

    values.setdefault("name", file.stem)
    made = experiment_from(values, where)
    return replace(made, **over) if over else made


def experiment_from(values: Mapping[str, Any], where: Any = None) -> Experiment:
    """Return an experiment from plain values, as JSON or YAML give them.

    Parameters
    ----------
    values : mapping
    where : callable, optional
        Given a key's path, such as ``("split", "by")``, where it stands, for messages.

    Raises
    ------
    Invalid
        (``invalid_table``) For an unknown key, with the nearest known one, or a value that cannot be right.
    """
    where = where or (lambda key: "experiment")
    made: dict[str, Any] = {}
    _known(values, Experiment, (), where)
    for key, value in values.items():
        if key in _NESTED:
            made[key] = _nested(key, value, where)
        else:
            made[key] = _value((key,), value, where)
    if "name" not in made:
        raise Invalid(f"{where(())}: the probe has no name; expected `name: owl`", kind="invalid_table")
    whole: Experiment = _made(Experiment, made, (), where)
    return whole


def experiment_yaml(experiment: Experiment) -> str:
    """Return an experiment as YAML that :func:`read_experiment` reads to an equal one."""
    return str(yaml.safe_dump(_plain(experiment.to_json()), sort_keys=False, allow_unicode=True))


def _nested(key: str, value: Any, where: Any) -> Any:
    if not isinstance(value, Mapping):
        raise Invalid(
            f"{where((key,))}: {key} is {value!r}; expected keys below it, as in `{key}: {{...}}`", kind="invalid_table"
        )
    _known(value, _NESTED[key], (key,), where)
    inner = {k: _value((key, k), v, where) for k, v in value.items()}
    return _made(_NESTED[key], inner, (key,), where)


def _known(values: Mapping[Any, Any], cls: type, path: tuple[str, ...], where: Any) -> None:
    names = [f.name for f in fields(cls)]
    for key in values:
        if key not in names:
            raise Invalid(
                f"{where((*path, str(key)))}: unknown key {'.'.join([*path, str(key)])!r}; {did_you_mean(str(key), names)}",
                kind="invalid_table",
            )


def _value(path: tuple[str, ...], value: Any, where: Any) -> Any:
    """Return a value as the field wants it."""
    key = path[-1]
    if key in _TEXTS:
        many = [value] if isinstance(value, str) else value
        if not isinstance(many, list | tuple) or not all(isinstance(v, str) and v.strip() for v in many):
            raise _wrong(path, value, "a list of names (quote a name that looks like a number)", where)
        return tuple(many)
    if key == "shots":
        if not isinstance(value, list | tuple) or not all(_is_whole(v) for v in value):
            raise _wrong(path, value, "a list of whole numbers, such as [1, 2, 4]", where)
        return tuple(value)
    if key == "where":
        try:
            return SearchFilter.from_texts(value or {})
        except (Invalid, TypeError, AttributeError) as error:
            raise Invalid(f"{where(path)}: {'.'.join(path)}: {error}", kind="invalid_table") from error
    if key in _WHOLE:
        if not _is_whole(value):
            raise _wrong(path, value, "a whole number", where)
        return value
    if key in _NUMBERS:
        if key == "l2" and value in ("auto", None):
            return None
        if key == "value" and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _wrong(path, value, "a number" + (" or auto" if key == "l2" else ""), where)
        return float(value)
    if key == "clips" and value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise _wrong(path, value, "some text", where)
    return value


def _made(cls: type, values: dict[str, Any], path: tuple[str, ...], where: Any) -> Any:
    try:
        return cls(**values)
    except Invalid as error:
        raise Invalid(f"{where(path)}: {error.message}", kind="invalid_table") from error


def _wrong(path: tuple[str, ...], value: Any, expected: str, where: Any) -> Invalid:
    return Invalid(f"{where(path)}: {'.'.join(path)} is {value!r}; expected {expected}", kind="invalid_table")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _lines(node: yaml.Node | None, path: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            found[here] = key.start_mark.line + 1
            found |= _lines(value, here)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
