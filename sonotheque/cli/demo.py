"""``sonotheque demo``: the main job, from nothing to answers, in a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from search_api.demo import Answers, DemoFolders

_EPILOG = "Example: sonotheque demo --dir /tmp/demo"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo", epilog=_EPILOG)(demo)


def demo(
    folder: str = typer.Option("demo-archive", "--dir", metavar="DIR", help="Where the recordings and the store go."),
    model: str = typer.Option("birdnet_v2.4", "--model", metavar="NAME", help="Model to embed with."),
    workers: int = typer.Option(None, "--workers", metavar="N", help="Worker processes [default: one per core]."),
    picture: bool = typer.Option(True, "--picture/--no-picture", help="Draw the spectrograms of the search's answer."),
) -> int:
    """Make a small archive with known calls, embed it, and ask it questions. Needs no network and no recordings."""
    from cluster.options import default_workers
    from search_api import demo as use
    from sonotheque.cli.embed import licence_notice
    from sonotheque.cli.output import audio, say
    from sonotheque.cli.progress import watcher
    from sonotheque.cli.summary import summary_lines

    say("1. Recordings: three sites, two days, calls made of tones, so that the truth is known")
    folders, truth = use.make_recordings(folder)
    files = len(list(folders.recordings.rglob("*.flac")))
    say(
        f"   {files} FLAC files ({audio(files * 30.0)}) with {len(truth)} calls in {folders.recordings}; truth.csv lists them"
    )
    say()
    say(
        f"2. Embed: sonotheque embed {folders.recordings} --store {folders.store} --model {model} --timezone {use.TIMEZONE}"
    )
    licence_notice(model, quiet=False)
    seen = watcher(quiet=False)
    try:
        report = use.embed_recordings(
            folders, model=model, workers=default_workers(model) if workers is None else workers, watcher=seen
        )
    finally:
        seen.close()
    say("\n".join(f"   {line}" for line in summary_lines(report.to_json())))
    answers = use.ask(folders, truth)
    _show_counts(use.COUNTS_SQL, answers)
    _show_search(answers)
    if picture:
        say(f"   spectrograms of the query and the first five: {use.draw(folders, answers)}")
    _show_next(folders, model)
    return 0 if report.clean else 3


def _show_counts(sql: str, answers: Answers) -> None:
    from sonotheque.cli.output import label, say, table

    say()
    say("3. By site and hour, in SQL (DuckDB): windows whose best class scores at least 0.3, beside the truth")
    say("\n".join(f"   {line}" for line in sql.splitlines()))
    rows = [[r["site"], f"{r['hour']:02d}", label(r["label"]), r["windows"], r["true"]] for r in answers.counts]
    text = table(["site", "hour", "best class", "windows", "with that call in truth"], rows, right=(1, 3, 4))
    say("\n".join(f"   {line}" for line in text.splitlines()))


def _show_search(answers: Answers) -> None:
    from sonotheque.cli.output import say, table

    query, hits = answers.query, answers.hits
    say()
    say(
        f"4. Where else does it occur? The windows nearest to {query['path']} at {query['start_s']:g} s ({query['call']!r}), "
        "its own recording left out"
    )
    rows = [
        [
            hit.rank,
            f"{hit.score:.3f}",
            hit.site,
            f"{hit.local_start:%Y-%m-%d %H:%M:%S}",
            hit.path,
            f"{hit.start_s:g}",
            ", ".join(calls) or "-",
        ]
        for hit, calls in hits
    ]
    text = table(
        ["rank", "cosine", "site", "local time", "recording", "start_s", "calls in truth"], rows, right=(0, 1, 5)
    )
    say("\n".join(f"   {line}" for line in text.splitlines()))
    right = sum(query["call"] in calls for _, calls in hits)
    say(f"   {right} of {len(hits)} hold the same call; exact search, every window compared")


def _show_next(folders: DemoFolders, model: str) -> None:
    from sonotheque.cli.output import say

    store = folders.store
    say()
    say("5. Next, with recordings of your own:")
    for line in (
        "sonotheque embed MY_RECORDINGS --store my-archive --model birdnet_v2.4 --timezone Europe/Paris --dry-run",
        "sonotheque embed MY_RECORDINGS --store my-archive --model birdnet_v2.4 --timezone Europe/Paris",
        "sonotheque verify --store my-archive        # planned = committed, nothing twice",
        "sonotheque report --store my-archive --out report.xlsx",
        f"sonotheque serve --store {store}      # the page: search by sound, listen, judge, train",
        "sonotheque models                           # Perch is the default model; this demo used " + model,
        f"sonotheque info --store {store}",
    ):
        say(f"   {line}")
