"""SQL as it goes over the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class SqlQuestion(BaseModel):
    """One SELECT over the views windows, recordings, predictions, annotations, sites and scores."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, description="DuckDB SQL, at most 16 KB; `?` or `$name` mark parameters")
    parameters: list[Any] | dict[str, Any] | None = Field(
        None, description="Values for `?` as a list, for `$name` as an object"
    )


class SqlColumn(BaseModel):
    """A column of the result."""

    name: str
    type: str = Field(description="As DuckDB names it")


class SqlResult(BaseModel):
    """The result: at most 10,000 rows or 8 MB."""

    columns: list[SqlColumn]
    rows: list[list[Any]] = Field(
        description="Times in ISO 8601; recording_id and whole numbers beyond 2^53 as text; bytes in base64; NaN as null"
    )
    truncated: bool = Field(description="Whether rows were left out")
    took_ms: float
