"""The text of a query and the values for its parameters, as they come from a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sonotheque.core.errors import Invalid, NotFound, Unavailable
from sonotheque.core.suggest import did_you_mean

_WHOLE: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,18})")  # 007 is a name, not a number
_NUMBER: Final = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_WORDS: Final = {"true": True, "false": False, "null": None}


def parameter_value(text: str) -> Any:
    """Return what a text stands for: a number if it reads as one, true, false, null, else itself.

    ``'12'`` in single quotes is text whatever it looks like. Dates and times stay text: DuckDB compares them as such
    with its own dates.

    Examples
    --------
    >>> [parameter_value(t) for t in ("12", "0.5", "007", "'12'", "2019-05-22", "true")]
    [12, 0.5, '007', '12', '2019-05-22', True]
    """
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def query_parameters(named: Sequence[str], positional: Sequence[str]) -> list[Any] | dict[str, Any] | None:
    """Return the parameters of a query.

    Parameters
    ----------
    named : sequence of str
        ``NAME=VALUE``; ``$NAME`` in the query.
    positional : sequence of str
        Values for ``?``, in their order.

    Raises
    ------
    Invalid
        If a text is no ``NAME=VALUE``, a name is given twice, or both kinds are given.
    """
    if named and positional:
        raise Invalid("--param and --value: DuckDB takes names ($name) or places (?) in one query, not both")
    if positional:
        return [parameter_value(text) for text in positional]
    values: dict[str, Any] = {}
    for text in named:
        name, mark, value = text.partition("=")
        name = name.strip().removeprefix("$")
        if not mark or not _NAME.fullmatch(name):
            raise Invalid(f"--param {text}: expected NAME=VALUE, as in --param site=forest for $site in the query")
        if name in values:
            raise Invalid(f"--param {name} is given twice: {values[name]!r} and {value!r}")
        values[name] = parameter_value(value)
    return values or None


def check_parameters(query: str, parameters: list[Any] | dict[str, Any] | None) -> None:
    """Compare a query's parameters with the values given for them; what cannot be parsed is left to the query itself.

    Raises
    ------
    Invalid
        If one is missing or too many; the message names both sides.
    """
    import duckdb

    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error:
        return
    if not statements:
        raise Invalid('the query is empty: expected SQL, as in "SELECT site, count(*) FROM windows GROUP BY site"')
    wanted = {name for statement in statements for name in statement.named_parameters}
    places = {name for name in wanted if name.isdigit()}
    given = set(parameters) if isinstance(parameters, dict) else {str(i + 1) for i in range(len(parameters or []))}
    if isinstance(parameters, list) and not wanted - places:
        if len(given) != len(places):
            raise Invalid(f"the query has {len(places)} parameters (?), and {len(given)} values are given with --value")
        return
    lower = {name.lower() for name in given}  # DuckDB's names know no case
    if missing := sorted(name for name in wanted if name.lower() not in lower):
        hint = f"--value V for each of {len(places)} places (?)" if places else f"--param {missing[0]}=VALUE"
        raise Invalid(f"the query's parameter {'?' if places else '$' + missing[0]} has no value; give {hint}")
    if spare := sorted(name for name in given if name.lower() not in {w.lower() for w in wanted}):
        known = did_you_mean(spare[0], wanted) if wanted else "it has none"
        raise Invalid(f"the query has no parameter ${spare[0]}; {known}")


def read_query(text: str | None, file: str | None) -> str:
    """Return the query given as text or in a file (``-``: standard input).

    Raises
    ------
    Invalid
        If there is none, or two.
    NotFound, Unavailable
        If the file is not there, or cannot be read.
    """
    if (text is None) == (file is None):
        raise Invalid("give one query: as text, or with --file FILE (- for standard input)")
    if text is not None:
        return text
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(str(file)).read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"--file {file}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"--file {file}: not UTF-8 text at byte {error.start}") from error
    except OSError as error:
        raise Unavailable(f"--file {file} cannot be read: {error.strerror or error}") from error
