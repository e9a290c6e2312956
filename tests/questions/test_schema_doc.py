"""What is written of the views is what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonotheque.core.errors import NotFound
from store import open_archive
from store.schema_doc import SCHEMA, VECTOR, schema_markdown, view_doc

ROOT = Path(__file__).parents[2]
each_view = pytest.mark.parametrize("view", SCHEMA, ids=lambda v: v.name)


@each_view
def test_names_order_and_types_are_those_of_a_store(view, real):
    with open_archive(real) as archive:
        found = archive.sql(f"DESCRIBE {view.name}").to_pylist()
        vector = f"FLOAT[{archive.config.model.dim}]"
    assert [(c.name, c.type.replace(VECTOR, vector)) for c in view.columns] == [
        (row["column_name"], row["column_type"]) for row in found
    ]


@each_view
def test_what_is_never_null_is_not(view, real):
    never = [c.name for c in view.columns if not c.null]
    with open_archive(real) as archive:
        counts = archive.sql(f"SELECT {', '.join(f'count(*) - count({c}) AS {c}' for c in never)} FROM {view.name}")
    assert {k: v for k, v in counts.to_pylist()[0].items() if v} == {}


def test_every_view_of_a_store_is_described(real):
    with open_archive(real) as archive:
        names = set(archive.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal")["view_name"].to_pylist())
        archive.sql("SELECT count(*) FROM embeddings"), archive.sql("SELECT count(*) FROM annotations")
    described = {view.name for view in SCHEMA}
    assert {name for name in names if not name.startswith("_")} <= described
    assert described == {"recordings", "windows", "predictions", "embeddings", "annotations", "scores", "sites"}


def test_units_stand_where_names_say_them():
    """A column whose name ends in a unit has that unit."""
    ends = {"_s": "s", "_hz": "Hz", "_min": "min", "_bytes": "bytes", "_utc": "UTC"}
    for view in SCHEMA:
        for column in view.columns:
            for end, unit in ends.items():
                if column.name.endswith(end):
                    assert column.unit == unit, f"{view.name}.{column.name}"


def test_texts_are_there():
    for view in SCHEMA:
        assert view.row
        assert view.note
        assert len({c.name for c in view.columns}) == len(view.columns)
        assert all(c.meaning for c in view.columns)


def test_the_page_is_current():
    assert (ROOT / "docs" / "SCHEMA.md").read_text(encoding="utf-8") == schema_markdown(), (
        "make it again: sonotheque schema --markdown > docs/SCHEMA.md"
    )


def test_a_view_by_its_name():
    assert view_doc("Windows").name == "windows"
    with pytest.raises(NotFound, match=r"no view 'prediction'; did you mean predictions\?"):
        view_doc("prediction")
