"""Where everything lies in a store. Pure: no file is touched here, and nobody else joins store paths."""

from __future__ import annotations

from urllib.parse import quote, unquote

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
CONFIG = "sonotheque.json"
EMBEDDINGS, PREDICTIONS, SNAPSHOTS, JOBS, TMP = "embeddings", "predictions", "snapshots", "jobs", "_tmp"
ANNOTATIONS = "annotations.sqlite"
METADATA = "metadata"
PART_PREFIX, PART_SUFFIX = "part-", ".parquet"


def partition(site: str, local_date: str | None) -> str:
    """Return ``site=<s>/date=<d>``, values encoded as hive readers expect."""
    return f"site={quote(site, safe='')}/date={local_date or NULL_PARTITION}"


def parse_partition(folder: str) -> tuple[str, str | None] | None:
    """Return ``(site, date)`` of a path holding ``site=…/date=…``, or None if it holds none."""
    values = dict(part.split("=", 1) for part in folder.split("/") if "=" in part)
    if "site" not in values or "date" not in values:
        return None
    return unquote(values["site"]), None if values["date"] == NULL_PARTITION else values["date"]


def part_name(part_id: str, sha256: str | None = None) -> str:
    """Return a part's file name; with a digest, the name for a predictions file whose usual name is taken."""
    return f"{PART_PREFIX}{part_id}{'.' + sha256[:12] if sha256 else ''}{PART_SUFFIX}"


def part_path(dataset: str, site: str, local_date: str | None, name: str) -> str:
    """Return a part file's path relative to the store."""
    return f"{dataset}/{partition(site, local_date)}/{name}"


def part_id_of(name: str) -> str | None:
    """Return the part id in a file name, or None if this is no part's name."""
    if not (name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX)):
        return None
    return name[len(PART_PREFIX) : -len(PART_SUFFIX)].split(".", 1)[0]


def former_config(version: int) -> str:
    """Return the name that a store's settings of an earlier format version are kept under."""
    return f"sonotheque.v{version}.json"


def snapshot_path(number: int) -> str:
    """Return the path of a snapshot relative to the store."""
    return f"{SNAPSHOTS}/{number}.json"


def metadata_path(number: int) -> str:
    """Return the path of a change of the metadata relative to the store."""
    return f"{METADATA}/{number}.json"


def job_path(number: int) -> str:
    """Return the folder of a job relative to the store."""
    return f"{JOBS}/{number}"


SCORES = "scores"
SCORE_SET = "set.json"


def score_set(name: str) -> str:
    """Return the path of what describes one set of scores, relative to the store."""
    return f"{SCORES}/{name}/{SCORE_SET}"


def score_part(name: str, part_id: str) -> str:
    """Return the path of one set's scores of a part, relative to the store."""
    return f"{SCORES}/{name}/{part_name(part_id)}"


CATALOG = "catalog"
_CATALOG_VERSION = 1  # of how the catalog's files are made; another version has a folder of its own


def catalog_folder() -> str:
    """Return the catalog's folder relative to the store."""
    return f"{CATALOG}/v{_CATALOG_VERSION}"


def catalog_manifest(snapshot: int, metadata: int) -> str:
    """Return the path of the manifest made from a snapshot and a version of the metadata."""
    return f"{catalog_folder()}/s{snapshot}-m{metadata}.json"


def catalog_table(table: str, digest: str) -> str:
    """Return the path of a table of the whole archive: ``recordings``, ``stored``, ``sites`` or ``labels``."""
    return f"{catalog_folder()}/{table}/{digest}.parquet"


def catalog_unit(table: str, site: str, month: str, digest: str) -> str:
    """Return the path of a unit's ``windows`` or ``predictions``."""
    return f"{catalog_folder()}/{table}/site={quote(site, safe='')}/month={month}/{digest}.parquet"


INDEX = "index"
_INDEX_VERSION = 1  # of how the index's files are made; another version has a folder of its own


def index_folder() -> str:
    """Return the index's folder relative to the store."""
    return f"{INDEX}/v{_INDEX_VERSION}"


def index_version(number: int) -> str:
    """Return the path of one version of the index."""
    return f"{index_folder()}/{number}.json"


def index_file(kind: str, made_from: str, sha256: str, suffix: str) -> str:
    """Return the path of a file of the index, named by what it was made from and by what it holds."""
    return f"{index_folder()}/{kind}-{made_from[:16]}-{sha256[:16]}.{suffix}"


def index_windows_list(snapshot: int, metadata: int, version: int) -> str:
    """Return the path of the list of the tables of windows that hold for a snapshot, metadata and index."""
    return f"{index_folder()}/windows/s{snapshot}-m{metadata}-i{version}.json"


PROBES = "probes"
PROMOTED = "promoted"
PROBE_FILE, PROBE_WEIGHTS, PROBE_REPORT = "probe.json", "weights.safetensors", "report.json"
PROBE_EXPERIMENT, PROBE_EXAMPLES = "experiment.yaml", "examples.parquet"


def probe_folder(name: str) -> str:
    """Return the folder of a probe, its name quoted as a site's is; a dot at its beginning is quoted too."""
    quoted = quote(name, safe="", errors="replace")
    return f"{PROBES}/{'%2E' + quoted[1:] if quoted.startswith('.') else quoted}"


def probe_name_of(folder: str) -> str | None:
    """Return the name of the probe that a folder in ``probes/`` is of, or None if it is of none."""
    name = unquote(folder, errors="replace")
    return name if probe_folder(name) == f"{PROBES}/{folder}" else None


def probe_version(name: str, number: int) -> str:
    """Return the folder of a version of a probe."""
    return f"{probe_folder(name)}/{number}"


def probe_promotions(name: str) -> str:
    """Return the folder of the records that say which version of a probe is in use."""
    return f"{probe_folder(name)}/{PROMOTED}"


def probe_promotion(name: str, number: int) -> str:
    """Return the path of one such record."""
    return f"{probe_promotions(name)}/{number}.json"
