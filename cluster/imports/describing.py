"""Site and time of an imported recording: from its name, the tables given, the source's own word, and the sound if it is there."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

from cluster.imports.index import Described, Named
from cluster.imports.names import below
from cluster.imports.options import ImportOptions
from cluster.imports.source import Note
from embedder.recorders import ClockReading
from sonotheque.core.clock import parse_iso
from sonotheque.core.ids import recording_id
from sonotheque.core.recording import Recording, SourceFile
from sonotheque.core.site import UNKNOWN_SITE, clean_site
from sonotheque.core.windows import WindowRule

# No file can lie in a folder with a NUL in its name: without --recordings the answer must not depend on what this machine
# happens to have where the source's paths once pointed.
_NOWHERE = "\0"


class Placing:
    """Places recordings, one at a time.

    Parameters
    ----------
    options : ImportOptions
    root : str
        What stored paths leave out.
    rule : WindowRule
    ends_known : bool
        Whether the source says where a recording's sound ends; else the sound itself is asked, if it is there.

    Attributes
    ----------
    counts : Counter
        ``sound_found``, ``sound_missing`` (with ``--recordings``), ``unreadable_times`` of the source.
    """

    def __init__(self, options: ImportOptions, root: str, rule: WindowRule, *, ends_known: bool) -> None:
        self._options, self._root, self._rule, self._ends_known = options, root, rule, ends_known
        self._describer = options.describer()
        self._times = dict(self._describer.times)
        self.counts: Counter[str] = Counter()

    def place(self, named: Named) -> Described:
        """Return where a recording belongs.

        Raises
        ------
        Invalid
            If its path does not begin with the root.
        """
        note = Note(**json.loads(named.note)) if named.note.startswith("{") else Note()
        inner = below(named.name, self._root, "")
        path = below(named.name, self._root, self._options.prefix)
        found = self._describe(inner, note)
        recording = self._with_note(replace(found, source=replace(found.source, path=path)), note)
        end_s = named.stop / (self._rule.sample_rate_hz * self._rule.rate_factor)
        heard_s = recording.audio_s
        if heard_s <= 0:
            recording = replace(recording, audio_s=end_s)
        stop = None
        if heard_s > 0 and not self._ends_known:
            stop = round(heard_s * self._rule.sample_rate_hz * self._rule.rate_factor)
        date = recording.time.local_date
        return Described(
            recording_id(path),
            path,
            recording.site,
            date.isoformat() if date else "",
            recording.audio_s,
            stop,
            json.dumps(recording.to_json(), separators=(",", ":")),
        )

    def _describe(self, path: str, note: Note) -> Recording:
        start = self._start(note)
        self._describer.times = {path: start, **self._times} if start else self._times
        folder = self._options.recordings
        if folder is not None:
            try:
                stat = os.stat(Path(folder) / path)
            except OSError:
                self.counts["sound_missing"] += 1
            else:
                self.counts["sound_found"] += 1
                return self._describer.describe(folder, SourceFile(path, stat.st_size, stat.st_mtime_ns))
        nowhere = f"{_NOWHERE}/{Path(self._root).name or UNKNOWN_SITE}"  # its last part may still name the site
        return self._describer.describe(nowhere, SourceFile(path, 0, 0))

    def _start(self, note: Note) -> ClockReading | None:
        if note.start is None:
            return None
        reading = parse_iso(note.start)
        if reading is None:
            self.counts["unreadable_times"] += 1
        return reading

    def _with_note(self, recording: Recording, note: Note) -> Recording:
        """Add what the source says; what the user's options and tables say comes before it."""
        placed = recording.deployment is not None or self._options.site is not None or self._options.site_from != "auto"
        if note.site and not placed:
            recording = replace(recording, site=clean_site(note.site))
        if note.deployment and recording.deployment is None:
            recording = replace(recording, deployment=note.deployment)
        device = dict(recording.device or {})
        if note.latitude is not None and note.longitude is not None and "latitude" not in device:
            device |= {"latitude": note.latitude, "longitude": note.longitude}
        return replace(recording, device=device)


def note_text(note: Note) -> str:
    """Return a note as the index keeps it."""
    known = {
        k: v for k, v in asdict(note).items() if v is not None and v != ""
    }  # 0.0 is a place: the equator, Greenwich
    return json.dumps(known, separators=(",", ":"), sort_keys=True)
