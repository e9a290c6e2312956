"""The DuckDB views over a catalog and a snapshot's parts. Text only: no file is touched here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from store.catalog import Catalog
from store.config import StoreConfig
from store.schema import HIVE_TYPES
from store.snapshots import Snapshot, SnapshotPart

# Of the view `recordings`; what else its file holds serves the catalog alone.
RECORDINGS_VIEW = (
    "recording_id",
    "path",
    "site",
    "deployment",
    "date",
    "local_start",
    "utc_start",
    "utc_offset_min",
    "zone",
    "time_source",
    "time_issues",
    "duration_s",
    "sample_rate_hz",
    "channels",
    "container",
    "codec",
    "status",
    "outcome",
    "reason",
    "windows",
    "latitude",
    "longitude",
    "recorder",
    "device",
    "size_bytes",
    "clock_offset_s",
    "stored_site",
    "part_id",
)
_HOUR = "hour(local_start)::TINYINT AS hour"
_EMPTY_WINDOWS = (
    "0::BIGINT recording_id, 0::BIGINT start_sample, ''::VARCHAR path, ''::VARCHAR deployment, ''::VARCHAR site, "
    "DATE '2000-01-01' AS date, 0::DOUBLE start_s, 0::DOUBLE end_s, 0::DOUBLE valid_s, NULL::TIMESTAMPTZ utc_start, "
    "NULL::TIMESTAMP local_start, 0::FLOAT minutes_since_sunrise, 0::FLOAT minutes_since_sunset, ''::VARCHAR part_id, 0::INTEGER part_row"
)
_EMPTY_PREDICTIONS = (
    "0::BIGINT recording_id, 0::BIGINT start_sample, ''::VARCHAR path, ''::VARCHAR deployment, ''::VARCHAR site, "
    "DATE '2000-01-01' AS date, NULL::TIMESTAMPTZ utc_start, NULL::TIMESTAMP local_start, 0::SMALLINT AS rank, ''::VARCHAR label, "
    "0::FLOAT logit, 0::FLOAT score"
)


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def recordings_view(catalog: Catalog) -> str:
    """Return the SELECT of ``recordings``."""
    columns = ", ".join(f'"{c}"' for c in RECORDINGS_VIEW)
    return f"SELECT {columns} FROM {_plain([catalog.path(catalog.manifest.recordings)])}"


def sites_view(catalog: Catalog) -> str:
    """Return the SELECT of ``sites``."""
    return f"SELECT * FROM {_plain([catalog.path(catalog.manifest.sites)])}"


def labels_view(catalog: Catalog) -> str:
    """Return the SELECT of the labels that occur."""
    return f"SELECT * FROM {_plain([catalog.path(catalog.manifest.labels)])}"


def windows_view(catalog: Catalog) -> str:
    """Return the SELECT of ``windows``."""
    source = _units(catalog, [u.windows for u in catalog.manifest.units if u.rows], _EMPTY_WINDOWS)
    return (
        "SELECT recording_id, start_sample, path, site, deployment, date, start_s, end_s, valid_s, utc_start, local_start, "
        f"{_HOUR}, minutes_since_sunrise, minutes_since_sunset, part_id, part_row FROM {source}"
    )


def predictions_view(catalog: Catalog, config: StoreConfig) -> str:
    """Return the SELECT of ``predictions``. Seconds follow from the start sample exactly as the writer computed them."""
    source = _units(catalog, [u.predictions for u in catalog.manifest.units if u.prediction_rows], _EMPTY_PREDICTIONS)
    rate = config.windows.sample_rate_hz * config.windows.rate_factor
    start_s = f"start_sample / {rate!r}::DOUBLE"
    return (
        f"SELECT recording_id, start_sample, path, site, deployment, date, {start_s} AS start_s, "
        f"{start_s} + {config.windows.window_s!r}::DOUBLE AS end_s, utc_start, local_start, {_HOUR}, rank, label, logit, score "
        f"FROM {source}"
    )


def embeddings_view(root: str, config: StoreConfig, snapshot: Snapshot, catalog: Catalog) -> str:
    """Return the SELECT of ``embeddings``: the parts' own rows, and a join where place or time were corrected since.

    A part that the catalog found as it was stored takes site and date from its path, so that DuckDB leaves out files by
    them; parts with superseded rows or corrections are read through the windows they have now.
    """
    moved = catalog.manifest.moved
    live = [
        p
        for p in snapshot.parts
        if p.live_rows and p.embeddings not in catalog.without and p.predictions not in catalog.without
    ]
    same = [p for p in live if p.part_id not in moved and not p.superseded]
    other = [p for p in live if p.part_id in moved or p.superseded]
    vector = f"embedding::FLOAT[{config.model.dim}] AS embedding"
    own = f"recording_id, start_sample, path, site, date, start_s, end_s, valid_s, utc_start, local_start, {vector}"
    selects = [f"SELECT {own} FROM {_parts(root, group)}" for group in _groups(root, same)]
    if other:
        joined = f"e.recording_id, e.start_sample, w.path, w.site, r.date, e.start_s, e.end_s, e.valid_s, w.utc_start, w.local_start, e.{vector}"
        files = file_list([f"{root}/{p.embeddings}" for p in other])
        selects.append(
            f"SELECT {joined} FROM (SELECT *, string_split(parse_filename(filename, true), '-')[2] AS part_id FROM "
            f"read_parquet({files}, hive_partitioning=false, filename=true)) e JOIN windows w USING (part_id, recording_id, start_sample) "
            "JOIN recordings r ON r.recording_id = e.recording_id"
        )
    if not selects:
        none = "start_s, end_s, valid_s, utc_start, local_start"
        return f"SELECT recording_id, start_sample, path, site, date, {none}, NULL::FLOAT[{config.model.dim}] AS embedding FROM windows WHERE false"
    return " UNION ALL BY NAME ".join(selects)


def _groups(root: str, parts: Sequence[SnapshotPart]) -> Iterable[list[SnapshotPart]]:
    """Return parts read in one go: all, or by place where a folder above the store would be taken for a partition."""
    if "=" not in root:
        return [list(parts)] if parts else []
    groups: dict[tuple[str, str | None], list[SnapshotPart]] = {}
    for part in parts:
        groups.setdefault((part.site, part.date), []).append(part)
    return groups.values()


def _parts(root: str, parts: Sequence[SnapshotPart]) -> str:
    files = file_list([f"{root}/{p.embeddings}" for p in parts])
    if "=" not in root:
        types = ", ".join(f"{key!r}: {value}" for key, value in HIVE_TYPES.items())
        return f"read_parquet({files}, hive_partitioning=true, hive_types={{{types}}})"
    date = "NULL" if parts[0].date is None else quoted(parts[0].date)
    place = f"{quoted(parts[0].site)} AS site, CAST({date} AS DATE) AS date"
    return f"(SELECT *, {place} FROM read_parquet({files}, hive_partitioning=false))"


def _units(catalog: Catalog, files: Sequence[str], empty: str) -> str:
    """Return the source of a unit table; the site comes from the path, so that DuckDB leaves out other sites' files."""
    paths = [catalog.path(f) for f in files]
    if not paths:
        return f"(SELECT {empty} WHERE false)"
    if "=" not in catalog.base:
        return f"read_parquet({file_list(paths)}, hive_partitioning=true, hive_types={{'site': VARCHAR, 'month': VARCHAR}})"
    sites = {catalog.path(f): u.site for u in catalog.manifest.units for f in (u.windows, u.predictions)}
    by_site: dict[str, list[str]] = {}
    for path in paths:
        by_site.setdefault(sites[path], []).append(path)
    selects = [
        f"SELECT *, {quoted(site)} AS site FROM read_parquet({file_list(own)}, hive_partitioning=false)"
        for site, own in by_site.items()
    ]
    return f"({' UNION ALL BY NAME '.join(selects)})"


def _plain(paths: Sequence[str]) -> str:
    return f"read_parquet({file_list(paths)}, hive_partitioning=false)"


def file_list(paths: Iterable[str]) -> str:
    """Return paths as an SQL list."""
    return f"[{', '.join(quoted(p) for p in paths)}]"
