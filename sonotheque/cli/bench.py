"""``sonotheque bench``: the benchmarks, from a source checkout. Without a verb, all of them in turn, small."""

from __future__ import annotations

import typer

from sonotheque.cli import bench_archives, bench_embedding
from sonotheque.cli.bench_calling import JSON, benchmark, measured

_EPILOG = """Examples:

sonotheque bench

sonotheque bench --quick

sonotheque bench compare benchmarks/results/suite.json .bench/suite.json"""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None, epilog=_EPILOG)
    group.callback()(bench)
    bench_embedding.register(group)
    bench_archives.register(group)
    group.command("compare", epilog="Example: sonotheque bench compare before.json after.json --fail-on-worse")(compare)
    group.command("readme", epilog="Example: sonotheque bench readme --check")(readme)
    app.add_typer(group, name="bench")


def bench(
    context: typer.Context,
    quick: bool = typer.Option(False, "--quick", help="A minute instead of ten; its figures mean little."),
    out: str = typer.Option(
        None, "--out", metavar="FILE", help="Write the results here [default: benchmarks/results/suite.json]."
    ),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure speed and size on this machine: everything in turn, in at most ten minutes; or one thing, by its verb."""
    if context.invoked_subcommand:
        if quick or out or as_json:
            from sonotheque.core.errors import Invalid

            verb = context.invoked_subcommand
            raise Invalid(f"options stand behind the verb: sonotheque bench {verb} --quick")
        return 0
    return measured("suite", as_json, quick=quick, out=out, quiet=as_json)


def compare(
    before: str = typer.Argument(..., help="A results file, or a folder of them."),
    after: str = typer.Argument(..., help="What it is compared with: of the same kind."),
    percent: float = typer.Option(5.0, "--percent", metavar="P", min=0.0, help="How much worse a figure may be."),
    changed: bool = typer.Option(False, "--changed", help="Show only the figures that changed by more than that."),
    fail_on_worse: bool = typer.Option(False, "--fail-on-worse", help="Exit with 1 if any figure is worse."),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Set two results beside each other: the ratio of every figure, what got worse, and how the machines differ."""
    from sonotheque.cli.output import document, say

    comparing = benchmark("compare")
    result = comparing.run(before=before, after=after, margin=percent / 100)
    if as_json:
        document(result)
    else:
        say(comparing.text(result, changed=changed))
    return int(fail_on_worse and result["worse"] > 0)


def readme(
    results: str = typer.Option(
        None, "--results", metavar="DIR", help="Folder of results [default: benchmarks/results]."
    ),
    folder: str = typer.Option(None, "--folder", metavar="DIR", help="Where the pages go [default: benchmarks]."),
    check: bool = typer.Option(False, "--check", help="Write nothing; exit with 1 if the pages are not up to date."),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Write the page of results with its tables and plots from the results that are there."""
    from sonotheque.cli.output import document, say

    writing = benchmark("readme")
    result = writing.run(results=results, folder=folder, check=check)
    if as_json:
        document(result)
    else:
        say(writing.text(result))
    return int(check and bool(result["changed"]))
