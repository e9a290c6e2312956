"""The views of SQL, column by column: type, unit, meaning, and when a value is missing. ``sonotheque schema`` prints it."""

from __future__ import annotations

from typing import Final

from sonotheque.core.errors import NotFound
from sonotheque.core.suggest import did_you_mean
from store.schema_nouns import ColumnDoc, ViewDoc

VECTOR: Final = "FLOAT[dim]"  # as long as the model's embedding: `sonotheque info` tells

_NO_TIME = "the recording's time is unknown"
_NO_UTC = "the time is unknown, or neither an offset nor a zone is"
_NO_PLACE = "no coordinates are known"
_NO_SUN = "site coordinates or UTC are unknown, or the event does not happen (polar day or night)"
_NO_DEPLOYMENT = "no deployment matches"

_ID = ColumnDoc("recording_id", "BIGINT", "", "63-bit id that follows from the recording's path")
_SAMPLE = ColumnDoc(
    "start_sample",
    "BIGINT",
    "samples",
    "first sample of the window at the model's rate; with recording_id its identity",
)
_PATH = ColumnDoc(
    "path",
    "VARCHAR",
    "",
    "recording's path relative to the archive, / between parts; bytes that are no UTF-8 as \\udcXX",
)
_SITE = ColumnDoc("site", "VARCHAR", "", "site's name, as corrected")
_DEPLOYMENT = ColumnDoc("deployment", "VARCHAR", "", "id of the deployment: one recorder at one site", _NO_DEPLOYMENT)
_DATE = ColumnDoc("date", "DATE", "", "local date at the window's start, at the site", _NO_TIME)
_START = ColumnDoc("start_s", "DOUBLE", "s", "window's start, from the recording's start")
_END = ColumnDoc(
    "end_s", "DOUBLE", "s", "window's end, from the recording's start: half-open; may lie behind its last sample"
)
_VALID = ColumnDoc("valid_s", "DOUBLE", "s", "how much of the window is sound and not padding")
_UTC = ColumnDoc("utc_start", "TIMESTAMP WITH TIME ZONE", "UTC", "instant at which the window starts", _NO_UTC)
_LOCAL = ColumnDoc(
    "local_start", "TIMESTAMP", "site's clock", "wall clock at the site when the window starts", _NO_TIME
)
_HOUR = ColumnDoc("hour", "TINYINT", "h", "hour of local_start, 0 to 23", _NO_TIME)

RECORDINGS: Final = ViewDoc(
    "recordings",
    "one audio file, whether it gave windows or not",
    "Place and time are as corrected; `stored_site` and `clock_offset_s` tell what was. A file that failed is here too.",
    (
        _ID,
        _PATH,
        _SITE,
        _DEPLOYMENT,
        ColumnDoc("date", "DATE", "", "local date of its start, at the site", _NO_TIME),
        ColumnDoc("local_start", "TIMESTAMP", "site's clock", "wall clock at the site when it starts", _NO_TIME),
        ColumnDoc("utc_start", "TIMESTAMP WITH TIME ZONE", "UTC", "instant at which it starts", _NO_UTC),
        ColumnDoc("utc_offset_min", "INTEGER", "min", "local clock minus UTC at its start", _NO_UTC),
        ColumnDoc(
            "zone", "VARCHAR", "IANA", "time zone, such as Europe/Paris", "none is given: a zone is never guessed"
        ),
        ColumnDoc(
            "time_source", "VARCHAR", "", "where the time came from: table, guano, header, name_offset, name, none"
        ),
        ColumnDoc("time_issues", "VARCHAR[]", "", "what a person should look at in its time; empty if nothing"),
        ColumnDoc("duration_s", "DOUBLE", "s", "sound that was decoded; 0 for a file that failed"),
        ColumnDoc("sample_rate_hz", "BIGINT", "Hz", "of the file; 0 if it could not be opened"),
        ColumnDoc("channels", "BIGINT", "", "of the file; 0 if it could not be opened"),
        ColumnDoc("container", "VARCHAR", "", "WAV, FLAC ...; empty if it could not be opened"),
        ColumnDoc("codec", "VARCHAR", "", "PCM_16, VORBIS ...; empty if it could not be opened"),
        ColumnDoc("status", "VARCHAR", "", "what was found in it: ok, truncated, empty ... (README, failures)"),
        ColumnDoc("outcome", "VARCHAR", "", "done, skipped or failed; follows from status"),
        ColumnDoc("reason", "VARCHAR", "", "a sentence with the values; empty for ok"),
        ColumnDoc("windows", "BIGINT", "windows", "how many it gave"),
        ColumnDoc("latitude", "DOUBLE", "° north", "of the site or the recorder, WGS 84", _NO_PLACE),
        ColumnDoc("longitude", "DOUBLE", "° east", "of the site or the recorder, WGS 84", _NO_PLACE),
        ColumnDoc("recorder", "VARCHAR", "", "make or model of the recorder", "the file does not say"),
        ColumnDoc("device", "VARCHAR", "JSON", "all that the file says of its recorder: serial, gain, battery_v ..."),
        ColumnDoc("size_bytes", "BIGINT", "bytes", "of the file"),
        ColumnDoc("clock_offset_s", "DOUBLE", "s", "correction of the recorder's clock that the times above contain"),
        ColumnDoc("stored_site", "VARCHAR", "", "site when it was embedded; in the part's path"),
        ColumnDoc("part_id", "VARCHAR", "", "part that holds its windows"),
    ),
)

WINDOWS: Final = ViewDoc(
    "windows",
    "one window of a recording",
    "Ordered by time within a site's month: ask by site, date or local_start and little is read.",
    (
        _ID,
        _SAMPLE,
        _PATH,
        _SITE,
        _DEPLOYMENT,
        _DATE,
        _START,
        _END,
        _VALID,
        _UTC,
        _LOCAL,
        _HOUR,
        ColumnDoc(
            "minutes_since_sunrise",
            "FLOAT",
            "min",
            "from the nearest sunrise to the window's start; negative before it, in (-720, 720]",
            _NO_SUN,
        ),
        ColumnDoc(
            "minutes_since_sunset",
            "FLOAT",
            "min",
            "from the nearest sunset to the window's start; negative before it, in (-720, 720]",
            _NO_SUN,
        ),
        ColumnDoc("part_id", "VARCHAR", "", "part that holds its vector"),
        ColumnDoc("part_row", "INTEGER", "", "row in that part, from 0"),
    ),
)

PREDICTIONS: Final = ViewDoc(
    "predictions",
    "one of the best classes that the model gave a window",
    "Ordered by label within a site's month: `label = '...'` reads one label's rows. A store keeps the best few classes of a "
    "window (`sonotheque info`), so a class that is not here was among the others.",
    (
        _ID,
        _SAMPLE,
        _PATH,
        _SITE,
        _DEPLOYMENT,
        _DATE,
        _START,
        _END,
        _UTC,
        _LOCAL,
        _HOUR,
        ColumnDoc("rank", "SMALLINT", "", "1 is the window's best class"),
        ColumnDoc("label", "VARCHAR", "", "the model's class, such as Strix aluco_Tawny Owl"),
        ColumnDoc("logit", "FLOAT", "", "what the model gave the class"),
        ColumnDoc("score", "FLOAT", "0 to 1", "follows from the logit by the model's rule; no probability"),
    ),
)

EMBEDDINGS: Final = ViewDoc(
    "embeddings",
    "one window with its vector",
    "Reads the parts, not the catalog: name the columns you need. `Archive.embeddings(filter)` in Python is faster for arrays.",
    (
        _ID,
        _SAMPLE,
        _PATH,
        _SITE,
        ColumnDoc(
            "date", "DATE", "", "local date of the recording's start (windows.date is the window's own)", _NO_TIME
        ),
        _START,
        _END,
        _VALID,
        _UTC,
        _LOCAL,
        ColumnDoc(
            "embedding", VECTOR, "", "the model's vector, not normalised; stored as float16 unless asked otherwise"
        ),
    ),
)

ANNOTATIONS: Final = ViewDoc(
    "annotations",
    "one judgement on a span of a recording that counts now",
    "Read afresh from annotations.sqlite by each query. A span and a window belong together if they share more than a "
    "microsecond: spans that only touch share nothing.",
    (
        ColumnDoc("annotation_id", "BIGINT", "", "number of the annotation in this store"),
        _ID,
        _PATH,
        ColumnDoc("start_s", "DOUBLE", "s", "span's start, from the recording's start"),
        ColumnDoc("end_s", "DOUBLE", "s", "span's end, half-open"),
        ColumnDoc("low_hz", "DOUBLE", "Hz", "lower edge of its box", "it has no box"),
        ColumnDoc("high_hz", "DOUBLE", "Hz", "upper edge of its box", "it has no box"),
        ColumnDoc("label", "VARCHAR", "", "what was heard, as the annotator wrote it"),
        ColumnDoc("judgement", "VARCHAR", "", "positive, negative or uncertain"),
        ColumnDoc("annotator", "VARCHAR", "", "who judged"),
        ColumnDoc("provenance", "VARCHAR", "", "where it came from: a file, a tool"),
        ColumnDoc("note", "VARCHAR", "", "free text; empty if none"),
        ColumnDoc("created_utc", "TIMESTAMP WITH TIME ZONE", "UTC", "when it came into this store"),
    ),
)

SCORES: Final = ViewDoc(
    "scores",
    "one class of a probe in one window, as the probe in use scored it",
    "There once a probe was applied (`sonotheque probe apply`), for the version in use of each probe. Scores below the floor (0.01 "
    "unless asked otherwise) are not kept: a window that is not here scored less, or was not scored yet. Ordered by class within a "
    "part: ask by probe and label and little is read.",
    (
        _ID,
        _SAMPLE,
        _PATH,
        _SITE,
        _DEPLOYMENT,
        _DATE,
        _START,
        _END,
        _UTC,
        _LOCAL,
        _HOUR,
        ColumnDoc("probe", "VARCHAR", "", "the probe's name"),
        ColumnDoc("version", "INTEGER", "", "the probe's version in use"),
        ColumnDoc("label", "VARCHAR", "", "the probe's class"),
        ColumnDoc("logit", "FLOAT", "", "the probe's linear score of the class"),
        ColumnDoc("score", "FLOAT", "0 to 1", "probability: the logit through the probe's calibration"),
    ),
)

SITES: Final = ViewDoc(
    "sites",
    "one site",
    "Coordinates and zone are the commonest of its recordings.",
    (
        _SITE,
        ColumnDoc("latitude", "DOUBLE", "° north", "WGS 84", _NO_PLACE),
        ColumnDoc("longitude", "DOUBLE", "° east", "WGS 84", _NO_PLACE),
        ColumnDoc("zone", "VARCHAR", "IANA", "time zone", "none is given: a zone is never guessed"),
        ColumnDoc("first_date", "DATE", "", "local date of its first recording", "no recording has a time"),
        ColumnDoc("last_date", "DATE", "", "local date of its last recording", "no recording has a time"),
        ColumnDoc("deployments", "BIGINT", "deployments", "how many its recordings name"),
        ColumnDoc("recordings", "BIGINT", "files", "whatever became of them"),
        ColumnDoc("windows", "BIGINT", "windows", "of all its recordings"),
        ColumnDoc("audio_s", "DOUBLE", "s", "sound of the recordings that were embedded"),
    ),
)

SCHEMA: Final = (RECORDINGS, WINDOWS, PREDICTIONS, EMBEDDINGS, ANNOTATIONS, SCORES, SITES)


def view_doc(name: str) -> ViewDoc:
    """Return one view's description.

    Raises
    ------
    NotFound
        If there is no such view; the message offers near names.
    """
    known = {view.name: view for view in SCHEMA}
    if name.lower() not in known:
        raise NotFound(f"there is no view {name!r}; {did_you_mean(name, known)}")
    return known[name.lower()]


def schema_markdown() -> str:
    """Return the whole description as a page of Markdown: docs/SCHEMA.md."""
    lines = [
        "# The views of SQL",
        "",
        "Made by `sonotheque schema --markdown`; a test compares it with the views of a store.",
        "",
        "`sonotheque sql` and, in Python, `sonotheque.open(path).sql(...)` see these views of one snapshot. Types are DuckDB's.",
        "Times with a zone are UTC; `local_start`, `date` and `hour` are the site's own clock. Intervals are half-open: a window",
        "`[start_s, end_s)` does not hold its end. Names of places and times are as corrected since they were embedded.",
    ]
    for view in SCHEMA:
        lines += ["", f"## {view.name}", "", f"A row is {view.row}. {view.note}", ""]
        lines += ["| column | type | unit | meaning | null if |", "|---|---|---|---|---|"]
        lines += [
            f"| `{c.name}` | {c.type} | {c.unit} | {_cell(c.meaning)} | {_cell(c.null) or 'never'} |"
            for c in view.columns
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
