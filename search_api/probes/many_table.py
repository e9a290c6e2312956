"""Tables of probes to train: YAML or CSV, a row each. A row that is wrong is kept with the reason, and spoils no other."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from probes.experiment import Experiment
from probes.experiment_files import experiment_from
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.suggest import did_you_mean
from store.probes import check_name

_LISTS: Final = ("classes", "annotators", "shots", "sites", "deployments", "recordings", "months")
_TEXTS: Final = (
    "name",
    "kind",
    "by",
    "rule",
    "source",
    "clips",
    "metric",
    "class_weights",
    "device",
    "classes",
    "annotators",
)
_KEYS: Final = ("defaults", "probes")
_DEEP: Final = 4  # an experiment has three levels
Lines = dict[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table.

    Attributes
    ----------
    line : int
        Where it begins in the file.
    name : str
        Of the probe; empty if the row does not tell.
    experiment : Experiment or None
    problem : str or None
        Why there is no experiment: file, line, key, and the nearest known one.
    """

    line: int
    name: str
    experiment: Experiment | None
    problem: str | None = None


def read_table(path: str | Path) -> list[TableRow]:
    """Return the rows of a table of experiments, in its order.

    Parameters
    ----------
    path : path-like
        ``.yaml`` or ``.yml``: a list of experiments, or ``defaults`` and ``probes``. ``.csv`` or ``.tsv``: a column a key, such as ``name``,
        ``classes`` (separated by ``|``) and ``negatives.weak``; an empty cell is a key that is not given.

    Raises
    ------
    NotFound
        If there is no such file.
    Invalid
        (``invalid_table``) If the file as a whole cannot be read, or has no rows.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise NotFound(f"there is no table {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(f"{file} cannot be read: {error}") from error
    ending = file.suffix.lower()
    if ending in (".yaml", ".yml"):
        rows = _yaml_rows(file, text)
    elif ending in (".csv", ".tsv", ".txt"):
        rows = _csv_rows(file, text)
    else:
        raise _refused(f"{file}: expected a name that ends in .yaml, .yml, .csv or .tsv")
    if not rows:
        raise _refused(f"{file} has no rows; expected one for each probe")
    return _without_doubles(file, rows)


def _yaml_rows(file: Path, text: str) -> list[TableRow]:
    try:
        node, value = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    defaults: Any = {}
    default_lines: Lines = {}
    if isinstance(value, Mapping) and isinstance(node, yaml.MappingNode):
        nodes = {str(key.value): inner for key, inner in node.value}
        for key in value:
            if key not in _KEYS:
                raise _refused(f"{file}: unknown key {str(key)!r}; {did_you_mean(str(key), _KEYS)}")
        defaults, value, node = value.get("defaults") or {}, value.get("probes"), nodes.get("probes")
        default_lines = _lines(nodes.get("defaults"))
        if not isinstance(defaults, Mapping):
            raise _refused(
                f"{file}: defaults is {defaults!r}; expected keys below it, as in `defaults: {{kind: multiclass}}`"
            )
    if not isinstance(value, list) or not isinstance(node, yaml.SequenceNode):
        raise _refused(
            f"{file}: expected a list of probes, as in `- {{name: owl, classes: [Strix aluco]}}`, or `defaults` and `probes`"
        )
    rows = []
    for inner, row in zip(node.value, value, strict=True):
        line = inner.start_mark.line + 1
        if isinstance(row, Mapping):
            rows.append(_row(file, line, defaults, row, default_lines | _lines(inner)))
        else:
            rows.append(
                TableRow(line, "", None, f"{file}, line {line}: {row!r}; expected keys and values, as in `name: owl`")
            )
    return rows


def _csv_rows(file: Path, text: str) -> list[TableRow]:
    header = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    titles: list[str] = []
    rows: list[TableRow] = []
    before = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not titles:
                titles = [cell.strip() for cell in cells]
                _require_titles(file, titles)
                continue
            rows.append(_csv_row(file, line, titles, cells))
    except csv.Error as error:
        raise _refused(f"{file}, line {reader.line_num}: not CSV: {error}") from None
    return rows


def _require_titles(file: Path, titles: list[str]) -> None:
    if "name" not in titles:
        raise _refused(f"{file} has no column name; it has {', '.join(titles)}")
    if doubled := [t for t in titles if t and titles.count(t) > 1]:
        raise _refused(f"{file} has the column {doubled[0]!r} twice; leave one out")


def _csv_row(file: Path, line: int, titles: list[str], cells: list[str]) -> TableRow:
    given = {title: cell.strip() for title, cell in zip(titles, cells, strict=False) if cell.strip()}
    if any(cell.strip() for cell in cells[len(titles) :]):
        problem = (
            f"{file}, line {line}: {len(cells)} cells, expected {len(titles)} as in the header; separate classes by |"
        )
        return TableRow(line, given.get("name", ""), None, problem)
    return _row(file, line, {}, {title: _typed(title, cell) for title, cell in given.items()}, {})


def _typed(title: str, cell: str) -> Any:
    """Return a cell as YAML would have it: a list, a number or a text."""
    key = title.rpartition(".")[2]
    if key in _LISTS:
        parts = [part.strip() for part in cell.split("|") if part.strip()]
        return parts if key in _TEXTS else [_number(part) for part in parts]
    return cell if key in _TEXTS else _number(cell)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _row(file: Path, line: int, defaults: Mapping[Any, Any], given: Mapping[Any, Any], lines: Lines) -> TableRow:
    name = str(given.get("name") or "")

    def where(path: Iterable[str]) -> str:
        known = tuple(path)
        while known and known not in lines:
            known = known[:-1]
        at = lines.get(known, line)
        # What is wrong in the defaults stands elsewhere: both lines are named.
        return f"{file}, line {at}" if at >= line or not known else f"{file}, line {line}, by its defaults in line {at}"

    try:
        experiment = experiment_from(_merged(_nested(defaults), _nested(given)), where)
        check_name(experiment.name)
    except Invalid as error:
        message = error.message if str(file) in error.message else f"{file}, line {line}: {error.message}"
        return TableRow(line, name, None, message)
    return TableRow(line, experiment.name, experiment)


def _nested(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return ``negatives.weak: 5`` as ``negatives: {weak: 5}``."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = str(key).split(".")
        inner: Any = {last: value}
        for part in reversed(above):
            inner = {part: inner}
        out = _merged(out, inner)
    return out


def _merged(base: Mapping[str, Any], over: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        both = isinstance(out.get(key), Mapping) and isinstance(value, Mapping) and depth < _DEEP
        out[key] = _merged(out[key], value, depth + 1) if both else value
    return out


def _lines(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Lines:
    found: Lines = {}
    if isinstance(node, yaml.MappingNode) and len(path) <= _DEEP:
        for key, value in node.value:
            here = (*path, *str(key.value).split("."))
            found[here] = key.start_mark.line + 1
            found |= _lines(value, here)
    return found


def _without_doubles(file: Path, rows: list[TableRow]) -> list[TableRow]:
    """Two rows of one name would be two versions in any order: the first one is trained, the others are wrong."""
    seen: dict[str, int] = {}
    out = []
    for row in rows:
        first = seen.setdefault(row.name, row.line) if row.experiment else row.line
        problem = f"{file}, line {row.line}: probe {row.name} is in line {first} already; give it another name"
        out.append(row if first == row.line else TableRow(row.line, row.name, None, problem))
    return out


def _refused(message: str) -> Invalid:
    return Invalid(message, kind="invalid_table")
