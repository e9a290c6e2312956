"""``sonotheque sql`` and ``schema``: questions in SQL, and what there is to ask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sonotheque.cli.opening import opened

if TYPE_CHECKING:
    from search_api.questions.sql import Rows

_SHOWN = 50
_SQL_EPILOG = (
    'Examples: sonotheque sql "SELECT site, count(*) AS windows FROM windows GROUP BY site" --store archive\n\n'
    "sonotheque sql 'SELECT * FROM predictions WHERE label = $label AND score >= $least' --param 'label=Strix aluco_Tawny Owl' "
    "--param least=0.7 --store archive --csv\n\n"
    "A value that reads as a number is one; in single quotes it is text: --param \"site='12'\". The verb schema lists the columns."
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("sql", epilog=_SQL_EPILOG)(sql)
    app.command("schema", epilog="Examples: sonotheque schema predictions\n\nsonotheque schema --json")(schema)


def sql(
    query: str = typer.Argument(None, metavar="QUERY", help="DuckDB SQL over the views of `sonotheque schema`."),
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder."),
    file: str = typer.Option(None, "--file", metavar="FILE", help="Take the query from a file; - is standard input."),
    param: list[str] = typer.Option(
        None, "--param", metavar="NAME=VALUE", help="A value for $NAME in the query; may be repeated."
    ),
    value: list[str] = typer.Option(None, "--value", metavar="VALUE", help="A value for the next ?; may be repeated."),
    as_csv: bool = typer.Option(False, "--csv", help="Print CSV (RFC 4180), times as ISO 8601, UTC with Z."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document: columns, rows, truncated."),
    parquet: str = typer.Option(None, "--parquet", metavar="FILE", help="Write a Parquet file."),
    out: str = typer.Option(
        None, "--out", metavar="FILE", help="Write to a file: .csv, .json or .parquet says the format."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
    limit: int = typer.Option(
        None, "--limit", metavar="N", min=0, help="At most N rows; 0: all [default: a table shows 50, files hold all]."
    ),
    snapshot: int = typer.Option(None, "--snapshot", metavar="N", help="Ask this snapshot [default: the newest]."),
    skip_damaged: bool = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which."),
) -> int:
    """Ask in SQL (DuckDB): recordings, windows, predictions, embeddings, annotations, sites. Times are UTC or the site's own."""
    from search_api.questions.parameters import query_parameters, read_query
    from search_api.questions.sql import run_query
    from search_api.questions.writing import target_of

    text, parameters = read_query(query, file), query_parameters(param or [], value or [])
    form, target = target_of(csv=as_csv, json=as_json, parquet=parquet, out=out, overwrite=overwrite, store=store)
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        most = None if form is None else limit or None
        rows = run_query(archive, text, parameters, limit=most)
        if form is None:
            _show(rows, _SHOWN if limit is None else limit or None)
        else:
            _write(rows, form, target, {"store": store, "snapshot": archive.snapshot.number})
    return 0


def _show(rows: Rows, most: int | None) -> None:
    from search_api.questions.writing import numeric_columns, shown_rows
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import say, tell

    if rows.schema.names == ["explain_key", "explain_value"]:  # a drawing of several lines
        for block in rows:
            say("\n".join(block.column(1).to_pylist()).rstrip())
        return
    texts, count = shown_rows(rows, most)
    if rows.schema.names:
        say(fitted(rows.schema.names, texts, right=numeric_columns(rows.schema)))
    if count > len(texts):
        tell(f"{len(texts):,} of {count:,} rows; --limit 0 shows all, --csv prints them whole, --out FILE writes them")
    else:
        tell(f"{count:,} row{'' if count == 1 else 's'}")


def _write(rows: Rows, form: str, target: Path | None, about: dict[str, Any]) -> None:
    from search_api.questions.writing import json_document, write_csv, write_file
    from sonotheque.cli.output import binary_output, document, tell

    if target is not None:
        count = write_file(rows, form, target, about)
        tell(f"{count:,} rows written to {target}{' (cut off by --limit)' if rows.truncated else ''}")
    elif form == "json":
        document({**about, **json_document(rows)})
    else:
        write_csv(rows, binary_output())


def schema(
    view: str = typer.Argument(None, metavar="VIEW", help="Only this view."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    as_markdown: bool = typer.Option(False, "--markdown", help="Print docs/SCHEMA.md."),
) -> int:
    """List the views of SQL column by column: type, unit, meaning, and when a value is missing."""
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import document, say
    from sonotheque.core.errors import Invalid
    from store.schema_doc import SCHEMA, schema_markdown, view_doc

    views = (view_doc(view),) if view else SCHEMA
    if as_markdown and (as_json or view):
        raise Invalid("--markdown prints the whole page: leave the view and --json out")
    if as_markdown:
        say(schema_markdown().rstrip("\n"))
    elif as_json:
        document({"views": [one.to_json() for one in views]})
    else:
        for one in views:
            say(f"{one.name}: a row is {one.row}. {one.note}")
            rows = [[c.name, c.type, c.unit, c.meaning, c.null or "never"] for c in one.columns]
            say(fitted(["column", "type", "unit", "meaning", "null if"], rows))
            say()
    return 0
