"""The demo: an archive with known truth, embedded for real, asked for real, and the answers held against the truth."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.options import EmbedOptions
from cluster.run import embed
from cluster.sums import RunReport
from cluster.watcher import Watcher
from embedder.audio.synthesis import CALLS, Placed, write_archive
from search_api.pictures import Clip, spectrogram_sheet
from search_api.service import nearest_to_window
from sonotheque.core.errors import Conflict
from store import Archive, SearchHit, open_archive

MARKER = ".sonotheque-demo"
TIMEZONE = "Europe/Berlin"
LEAST_SCORE = 0.3
COUNTS_SQL = f"""SELECT site, hour(local_start) AS hour, label, count(*) AS windows
FROM predictions
WHERE rank = 1 AND score >= {LEAST_SCORE}
GROUP BY ALL ORDER BY site, hour, windows DESC, label"""
_OVERLAP_S = 0.5


@dataclass(frozen=True, slots=True)
class DemoFolders:
    """Where the demo's files lie."""

    root: Path

    @property
    def recordings(self) -> Path:
        """The synthetic archive."""
        return self.root / "recordings"

    @property
    def store(self) -> Path:
        """The store made of it."""
        return self.root / "store"

    @property
    def picture(self) -> Path:
        """Spectrograms of the search's answer."""
        return self.root / "nearest.png"


def make_recordings(folder: str | Path) -> tuple[DemoFolders, list[Placed]]:
    """Write the archive afresh.

    Raises
    ------
    Conflict
        If the folder holds something that is not an earlier demo.
    """
    folders = DemoFolders(Path(folder))
    if folders.root.exists():
        if not (folders.root / MARKER).exists() and any(folders.root.iterdir()):
            raise Conflict(f"{folders.root} is there and is no earlier demo: name another folder with --dir")
        for old in (folders.recordings, folders.store):
            shutil.rmtree(old, ignore_errors=True)
    folders.root.mkdir(parents=True, exist_ok=True)
    (folders.root / MARKER).touch()
    return folders, write_archive(folders.recordings)


def embed_recordings(folders: DemoFolders, *, model: str, workers: int, watcher: Watcher) -> RunReport:
    """Embed the archive as a user's command would."""
    options = EmbedOptions(
        sources=(str(folders.recordings),), store=str(folders.store), model=model, timezone=TIMEZONE, workers=workers
    )
    return embed(options, watcher)


def truth_in(truth: list[Placed], path: str, start_s: float, end_s: float) -> list[str]:
    """Return the calls that a window holds at least half a second of."""
    return sorted(
        {t.call for t in truth if t.path == path and min(t.end_s, end_s) - max(t.start_s, start_s) >= _OVERLAP_S}
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """What the store says, beside what is true.

    Attributes
    ----------
    counts : list of dict
        Rows of ``COUNTS_SQL``, with ``true``: windows of that site and hour which hold the call that sounds like the label.
    query : SearchHit-like dict
        ``path``, ``start_s``, ``call`` of the window that was searched for.
    hits : list of (SearchHit, list of str)
        Each with the calls that are really there.
    """

    counts: list[dict[str, Any]]
    query: dict[str, Any]
    hits: list[tuple[SearchHit, list[str]]]


def ask(folders: DemoFolders, truth: list[Placed], *, call: str = "hoots", k: int = 10) -> Answers:
    """Count by site and hour in SQL, and search for one call."""
    with open_archive(folders.store) as archive:
        counts = archive.sql(COUNTS_SQL).to_pylist()
        true = _true_windows(archive, truth)
        sounds_like = {name: call for call, (name, _) in CALLS.items()}
        for row in counts:
            call_of = sounds_like.get(str(row["label"]).partition("_")[2], "")
            row["true"] = true[row["site"], row["hour"], call_of]
        query = _window_of(archive, truth, call)
        hits = nearest_to_window(archive, query["path"], query["start_s"], k)
    return Answers(counts, query, [(hit, truth_in(truth, hit.path, hit.start_s, hit.end_s)) for hit in hits])


def _true_windows(archive: Archive, truth: list[Placed]) -> Counter[tuple[str, int, str]]:
    found: Counter[tuple[str, int, str]] = Counter()
    for row in archive.sql("SELECT site, path, start_s, end_s, hour FROM windows").to_pylist():
        for call in truth_in(truth, row["path"], row["start_s"], row["end_s"]):
            found[row["site"], row["hour"], call] += 1
    return found


def _window_of(archive: Archive, truth: list[Placed], call: str) -> dict[str, Any]:
    """Return the window that holds most of the first such call."""
    first = next(t for t in truth if t.call == call)
    row = archive.sql(
        "SELECT path, start_s, end_s, site, local_start FROM windows WHERE path = ? "
        "ORDER BY least(end_s, ?) - greatest(start_s, ?) DESC, start_s LIMIT 1",
        [first.path, first.end_s, first.start_s],
    ).to_pylist()[0]
    return {**row, "call": call}


def draw(folders: DemoFolders, answers: Answers, *, shown: int = 5) -> Path:
    """Draw the query and its nearest windows; returns the picture's path."""
    query = answers.query
    clips = [
        Clip(
            str(folders.recordings / query["path"]),
            query["start_s"],
            query["end_s"],
            f"query: {query['path']}, {query['start_s']:g} s",
        )
    ]
    clips += [
        Clip(
            str(folders.recordings / hit.path),
            hit.start_s,
            hit.end_s,
            f"{hit.rank}. {hit.score:.3f}  {hit.path}, {hit.start_s:g} s",
        )
        for hit, _ in answers.hits[:shown]
    ]
    spectrogram_sheet(
        clips, folders.picture, title="A call, and the nearest windows in other recordings (cosine similarity)"
    )
    return folders.picture
