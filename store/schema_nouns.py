"""What the description of a view consists of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ColumnDoc:
    """One column.

    Attributes
    ----------
    name, type : str
        As DuckDB's DESCRIBE has them; ``FLOAT[dim]`` stands for the length of the store's vectors.
    unit : str
        Empty for what has none.
    meaning : str
    null : str
        When it is null; empty if never.
    """

    name: str
    type: str
    unit: str
    meaning: str
    null: str = ""


@dataclass(frozen=True, slots=True)
class ViewDoc:
    """One view.

    Attributes
    ----------
    name : str
    row : str
        What a row is.
    note : str
        What a question should know beforehand.
    columns : tuple of ColumnDoc
    """

    name: str
    row: str
    note: str
    columns: tuple[ColumnDoc, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the view as a JSON object."""
        return asdict(self)
