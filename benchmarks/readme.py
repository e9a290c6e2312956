"""`bench readme`: writes the page of results, `benchmarks/README.md`, its tables, `benchmarks/TABLES.md`, and its plots, from `results/`.

The page is made of what lies there: a benchmark without results is listed with its command, and what no benchmark here knows is told by
its figures. How everything is measured is written by hand, in `METHODS.md`. The same results give the same files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.calling import module
from benchmarks.drawing import PLOTS, save
from benchmarks.envelope import provenance, read, verb
from benchmarks.figures import figures
from benchmarks.headlines import headlines
from sonotheque.core.errors import Invalid, NotFound

FOLDER = Path(__file__).parent
_FIGURES_MOST = 60


@dataclass(frozen=True)
class Kind:
    """One verb of `sonotheque bench`, the modules that measure for it, and what."""

    verb: str
    modules: tuple[str, ...]
    measures: str

    @property
    def command(self) -> str:
        """The command that measures it."""
        return "sonotheque bench" if self.verb == "suite" else f"sonotheque bench {self.verb}"


KINDS = (
    Kind("suite", ("suite",), "everything in turn, small: ten minutes, or one"),
    Kind("embed", ("embed",), "the main job end to end beside the bare model, by workers and formats"),
    Kind("engines", ("engines",), "engine by precision: speed, and whether the vectors are the same"),
    Kind("peers", ("peers_embed",), "the same files through what people use today"),
    Kind(
        "roofline", ("roofline",), "operations and bytes a window, and the share of the machine's peak that is reached"
    ),
    Kind("season", ("season",), "hours and euros for a season of 17,940 h"),
    Kind("planning", ("planning",), "the plan of 10^6 files: seconds and memory to the first task"),
    Kind("soak", ("soak",), "memory of coordinator and scheduler over 10^4 parts"),
    Kind("supervision", ("supervision",), "what a supervisor and heartbeats cost a run"),
    Kind("search", ("search",), "search: recall beside every time, and other programs beside it"),
    Kind("store", ("ask",), "questions to a large store beside plain DuckDB over the same files"),
    Kind("probes", ("probes",), "training probes, and running them over an archive"),
    Kind("api", ("api",), "the service: start, searches, users at once, the page"),
    Kind("import", ("imports",), "what an import of perch-cpu-inference output saves and costs"),
    Kind("gpu", ("gpu_search", "gpu_embed"), "exact search and embedding on a GPU"),
)
_HEAD = """# benchmarks

Written by `sonotheque bench readme` from [`results/`](results); [how it is measured](METHODS.md) · [all tables](TABLES.md). A speed is a
ratio of two things run in turn in one session, medians over repetitions; no test asserts a time. `make bench` runs the suite here,
`make bench-quick` shows in a minute that it works, and `sonotheque bench compare BEFORE AFTER` sets two results beside each other.
"""
_TABLES = """# Tables

Written by `sonotheque bench readme` from [`results/`](results): each result as its benchmark prints it. [Summary and plots](README.md).
"""


def run(*, results: str | None = None, folder: str | None = None, check: bool = False) -> dict[str, Any]:
    """Write the page, its tables and its plots.

    Parameters
    ----------
    results : str, optional
        The folder of results; by default the benchmarks' own.
    folder : str, optional
        Where ``README.md``, ``TABLES.md`` and ``plots/`` are written.
    check : bool
        Write nothing, and say which of the two pages are not what the results give.

    Raises
    ------
    NotFound
        If there is no such folder of results.
    """
    source, target = Path(results or FOLDER / "results"), Path(folder or FOLDER)
    if not source.is_dir():
        raise NotFound(f"{source}: there is no such folder of results; `sonotheque bench` makes some")
    found, unread = load(source)
    there = [stem for stem in found if (target / "plots" / f"{stem}.svg").exists()]
    shown = there if check else draw(found, target / "plots")
    pages = {"README.md": page(found, unread, shown), "TABLES.md": tables(found)}
    changed = [name for name, words in pages.items() if _differs(target / name, words)]
    if not check:
        target.mkdir(parents=True, exist_ok=True)
        for name in changed:
            (target / name).write_text(pages[name], encoding="utf-8")
    return {
        "what": "sonotheque bench readme",
        "results": sorted(f"{stem}.json" for stem in found),
        "unread": unread,
        "plots": sorted(shown),
        "changed": changed,
        "check": check,
    }


def load(folder: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the results of a folder by the stems of their files, in the order of the page, and what of it could not be read."""
    found, unread = {}, []
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = read(path)
        except Invalid as error:
            unread.append(f"{path.name}: {error.message.partition(': ')[2]}")
    order = [kind.verb for kind in KINDS]
    place = {stem: order.index(verb(r)) if verb(r) in order else len(order) for stem, r in found.items()}
    return dict(sorted(found.items(), key=lambda item: (place[item[0]], item[0]))), unread


def draw(found: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """Draw every result that there is a plot for; returns their stems. Plots of results that are gone are removed."""
    drawn = []
    for stem, result in found.items():
        plots = PLOTS.get(verb(result), ())
        if any(save(plot, result, provenance(result), folder / f"{stem}.svg") for plot in plots):
            drawn.append(stem)
    for path in folder.glob("*.svg") if folder.exists() else ():
        if path.stem not in drawn:
            path.unlink()
    return drawn


def page(found: dict[str, dict[str, Any]], unread: list[str], plots: list[str]) -> str:
    """Return the page: a row a result, then the plots."""
    lines = [_HEAD, "| command | what it found | on what | where |", "|---|---|---|---|"]
    lines += [_row(stem, result) for stem, result in found.items()]
    told = {verb(result) for result in found.values()}
    missing = [kind for kind in KINDS if kind.verb not in told and (FOLDER / f"{kind.modules[0]}.py").exists()]
    if missing:
        lines += ["", "Not measured yet: " + "; ".join(f"`{kind.command}` ({kind.measures})" for kind in missing) + "."]
    if unread:
        lines += ["", f"Not read: {'; '.join(unread)}."]
    for stem in plots:
        shows = " or ".join(plot.shows for plot in PLOTS[verb(found[stem])])
        lines += [
            "",
            f"![{shows}](plots/{stem}.svg)",
            "",
            f"`{found[stem]['command']}`; {_short(found[stem]['data'])}; {provenance(found[stem])}.",
        ]
    return "\n".join(lines) + "\n"


def _row(stem: str, result: dict[str, Any]) -> str:
    said = "; ".join(headlines(result)) if verb(result) != "suite" else _suite(result)
    cells = [
        f"`{result['command']}`, [`{stem}.json`](results/{stem}.json)",
        said,
        _short(result["data"]),
        provenance(result),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _suite(result: dict[str, Any]) -> str:
    done = [name for name, part in result["parts"].items() if "result" in part]
    left = [name for name, part in result["parts"].items() if "result" not in part]
    return f"{', '.join(done) or 'nothing'} in {result['took_s']:.0f} s" + (
        f"; left out: {', '.join(left)}" if left else ""
    )


def _short(data: str, most: int = 160) -> str:
    """Return the beginning of what was measured on, up to the end of a clause."""
    if not data:
        return "not told"
    clause = data.split("; ", maxsplit=1)[0]
    return clause if len(clause) <= most else f"{clause[:most].rsplit(' ', 1)[0]} ..."


def tables(found: dict[str, dict[str, Any]]) -> str:
    """Return the page of tables: every result in full, as far as its benchmark can tell it."""
    lines = [_TABLES]
    for stem, result in found.items():
        lines += [
            f"## {stem}",
            "",
            f"`{result['command']}`; {provenance(result)}. Data: {result['data'] or 'not told'}.",
            "",
            *_text(result),
            "",
        ]
    return "\n".join(lines)


def _text(result: dict[str, Any]) -> Iterator[str]:
    """Yield a result as its benchmark tells it; its figures where it is of a shape that the benchmark knows no more."""
    words = ""
    for name in next((kind.modules for kind in KINDS if kind.verb == verb(result)), ()):
        try:
            words = words or module(name).text(result)
        except (ImportError, KeyError, IndexError, TypeError, ValueError, AttributeError):
            continue
    if not words:
        told = list(figures(result).values())
        yield from (
            "| figure | value |",
            "|---|---:|",
            *(f"| {f.name} | {f.value:,.6g} |" for f in told[:_FIGURES_MOST]),
        )
        if len(told) > _FIGURES_MOST:
            yield f"\n{len(told) - _FIGURES_MOST} more figures are in the file."
    elif "\n|" in words:
        yield words
    else:
        yield from ("```text", words, "```")


def _differs(path: Path, words: str) -> bool:
    return not path.exists() or path.read_text(encoding="utf-8") != words


def text(result: dict[str, Any]) -> str:
    """Return what was written, or what should be."""
    lines = [f"{len(result['results'])} results, {len(result['plots'])} plots"]
    lines += [f"not read: {words}" for words in result["unread"]]
    if not result["changed"]:
        return "\n".join([*lines, "the pages are what the results give"])
    if result["check"]:
        return "\n".join(
            [*lines, f"{', '.join(result['changed'])}: not what the results give; run `sonotheque bench readme`"]
        )
    return "\n".join([*lines, f"written: {', '.join(result['changed'])}"])
