"""The SQL over files of scores. Text only: it reads lists of folders, and no file of scores."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from store import layout
from store.fsops import ops_of
from store.scores.held import HeldScores
from store.snapshots import Snapshot
from store.views import file_list, quoted

_SHOWN: Final = (
    "w.recording_id, w.start_sample, w.path, w.site, w.deployment, w.date, w.start_s, w.end_s, w.utc_start, w.local_start, w.hour, "
    "s.probe, s.version, s.label, s.logit, s.score"
)
_NONE: Final = (
    "SELECT 0::BIGINT AS recording_id, 0::BIGINT AS start_sample, ''::VARCHAR AS probe, 0::INTEGER AS version, ''::VARCHAR AS label, "
    "0::FLOAT AS logit, 0::FLOAT AS score, ''::VARCHAR AS part_id WHERE false"
)


def scores_select(
    held: HeldScores,
    part_ids: Sequence[str],
    keys: Iterable[tuple[str, int]],
    digests: Mapping[tuple[str, int], str] | None = None,
) -> str:
    """Return a SELECT of the raw scores of some parts by some probes, superseded rows among them.

    Parameters
    ----------
    held : HeldScores
    part_ids : sequence of str
    keys : iterable of (str, int)
        Probes by name and version.
    digests : mapping, optional
        Of the probes, where they are known.

    Returns
    -------
    str
        Columns of the files, and ``part_id``. To be joined with ``windows`` on ``recording_id, start_sample, part_id``, which leaves
        out superseded rows.
    """
    selects = []
    for (name, taken), parts in held.chosen(part_ids, keys, digests).items():
        files = file_list([held.path(name, part_id) for part_id in parts])
        condition = ""
        if len(taken) < len(held.sets[name].probes):
            condition = f" WHERE (probe, version) IN ({', '.join(f'({quoted(n)}, {v})' for n, v in sorted(taken))})"
        selects.append(
            "SELECT recording_id, start_sample, probe, version, label, logit, score, string_split(parse_filename(filename, true), '-')[2] "
            f"AS part_id FROM read_parquet({files}, hive_partitioning=false, filename=true){condition}"
        )
    return " UNION ALL ".join(selects) or _NONE


def scores_view(root: str, snapshot: Snapshot, in_use: Mapping[str, int]) -> str:
    """Return the SELECT of ``scores``: of the version in use of every probe, as far as it was applied.

    Parameters
    ----------
    root : str
    snapshot : Snapshot
    in_use : mapping
        Name of a probe -> version.
    """
    keys = sorted(in_use.items())
    raw = scores_select(
        HeldScores(root), [p.part_id for p in snapshot.parts if p.live_rows], keys, _digests(root, keys)
    )
    return f"SELECT {_SHOWN} FROM ({raw}) s JOIN windows w USING (recording_id, start_sample, part_id)"


def _digests(root: str, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Return what the probes compute, as far as their files tell: a folder of probes may have been replaced by another."""
    found = {}
    for name, version in keys:
        path = f"{root}/{layout.probe_version(name, version)}/{layout.PROBE_FILE}"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found[name, version] = str(json.loads(ops_of(root).read(path))["probe_digest"])
    return found
