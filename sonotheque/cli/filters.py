"""The flags of the one filter language: every verb that asks for a choice of windows gets all of them with one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, NamedTuple, get_type_hints

import typer

from sonotheque.core.filters import JUDGEMENTS, SearchFilter

PARAMETER: Final = "where"


class FilterFlag(NamedTuple):
    """One flag of a verb for one field of a filter.

    Attributes
    ----------
    names : tuple of str
        As typed; ``--yes/--no`` for a choice.
    kind : type
        What Typer reads.
    metavar : str or None
    help : str
    """

    names: tuple[str, ...]
    kind: Any
    metavar: str | None
    help: str


FLAGS: Final[dict[str, FilterFlag]] = {
    "sites": FilterFlag(("--site",), list[str], "NAME", "Only this site; may be repeated."),
    "deployments": FilterFlag(("--deployment",), list[str], "NAME", "Only this deployment; may be repeated."),
    "recordings": FilterFlag(
        ("--recording",), list[str], "GLOB", "Only recordings of this path, * and ? allowed; may be repeated."
    ),
    "date_from": FilterFlag(("--from",), str, "DATE", "From this local date, as 2025-05-03."),
    "date_to": FilterFlag(("--to", "--until"), str, "DATE", "Up to this local date, included."),
    "months": FilterFlag(("--month",), list[int], "1-12", "Only this month of any year; may be repeated."),
    "hours": FilterFlag(("--hours",), str, "FROM-TO", "Time of day on the site's clock, as 22:00-04:00."),
    "sun": FilterFlag(("--sun",), str, "FROM..TO", "Minutes around sunrise or sunset, as sunrise-60..sunrise+120."),
    "label": FilterFlag(
        ("--label", "--species"), str, "NAME", "A predicted species: label, scientific or common name."
    ),
    "score_min": FilterFlag(("--min-score",), float, "SCORE", "Predictions with at least this score."),
    "score_max": FilterFlag(("--max-score",), float, "SCORE", "Predictions with at most this score."),
    "rank_max": FilterFlag(("--max-rank",), int, "N", "Only the N best predictions of a window."),
    "annotated": FilterFlag(("--annotated/--not-annotated",), bool, None, "Windows with, or without, an annotation."),
    "annotation_label": FilterFlag(("--annotation-label",), str, "NAME", "Windows annotated with this label."),
    "judgement": FilterFlag(("--judgement",), str, "WORD", f"Windows so judged: {', '.join(JUDGEMENTS)}."),
    "overlap_min_s": FilterFlag(
        ("--min-overlap-s",), float, "S", "Least overlap of an annotation and a window, in seconds."
    ),
    "valid_min_s": FilterFlag(("--min-valid-s",), float, "S", "Windows with at least so many seconds of sound."),
}
"""Field of :class:`SearchFilter` -> its flag; every field has one."""


def with_filter(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb every flag of :data:`FLAGS`; it gets their values as one :class:`SearchFilter` in ``where``.

    A verb that has a flag of the same name keeps it, and the filter's flag goes by its other name (``export`` has
    ``--to FORMAT``, so its last date is ``--until``).

    Parameters
    ----------
    verb : callable
        Takes a keyword ``where: SearchFilter``.

    Returns
    -------
    callable
        For ``app.command``; the flags stand where ``where`` stood.

    Raises
    ------
    TypeError
        If the verb has no ``where``, or leaves a flag of the filter no name.

    Examples
    --------
    ::

        def register(app):
            app.command("summary", epilog="Example: ...")(with_filter(summary))

        def summary(store: str = _STORE, *, where: SearchFilter, as_json: bool = _JSON) -> int:
            with open_archive(store) as archive:
                table = archive.windows(where)
    """
    signature = inspect.signature(verb)
    if PARAMETER not in signature.parameters:
        raise TypeError(f"{verb.__name__} takes no `{PARAMETER}`: it could not be given a filter")
    hints = get_type_hints(verb)
    own = {
        name
        for parameter in signature.parameters.values()
        for declared in getattr(parameter.default, "param_decls", None) or ()
        for name in declared.split("/")
    }
    options = [
        inspect.Parameter(
            _parameter(field),
            inspect.Parameter.KEYWORD_ONLY,
            default=_option(verb.__name__, field, flag, own),
            annotation=flag.kind,
        )
        for field, flag in FLAGS.items()
    ]

    @functools.wraps(verb)
    def command(**given: Any) -> Any:
        texts = {field: given.pop(_parameter(field)) for field in FLAGS}
        return verb(**given, **{PARAMETER: SearchFilter.from_texts(texts)})

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name == PARAMETER:
            parameters += options
        else:
            kind = hints.get(parameter.name, parameter.annotation)
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind))
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameter(field: str) -> str:
    """Return the name of a flag's parameter, which must not be that of another option of the verb."""
    return f"where_{field}"


def _option(verb: str, field: str, flag: FilterFlag, own: set[str]) -> Any:
    names = [name for name in flag.names if not set(name.split("/")) & own]
    if not names:
        raise TypeError(f"{verb} has {', '.join(flag.names)} itself: the filter's {field} would have no flag")
    return typer.Option(None, *names, metavar=flag.metavar, help=flag.help, show_default=False)
