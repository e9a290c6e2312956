"""FORMAT.md and the code say the same: the page's own tables are read and compared with what is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import store as store_package
from store import layout, load_ledger, write_snapshot
from store.care import compact
from store.schema import embeddings_schema, predictions_schema
from tests.store import kit

PAGE = (Path(store_package.__file__).parent / "FORMAT.md").read_text()
NAME = re.compile(r"`([a-z_0-9]+)`")
TYPES = {
    "int64": pa.int64(),
    "int16": pa.int16(),
    "string": pa.string(),
    "float64": pa.float64(),
    "float32": pa.float32(),
    "timestamp[us, UTC] or null": pa.timestamp("us", "UTC"),
    "timestamp[us] or null": pa.timestamp("us"),
}


def section(number: int) -> str:
    found = re.search(rf"^## {number}\. .*?(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, f"FORMAT.md has no section {number}"
    return found.group()


def table(number: int) -> dict[str, str]:
    """First column's names → second column's text."""
    rows = {}
    for line in section(number).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and (names := NAME.findall(cells[0])):
            rows.update(dict.fromkeys(names, cells[1]))
    assert rows, f"section {number} has no table"
    return rows


def arrow_type(text: str, dtype: str) -> pa.DataType:
    if text.startswith("fixed-size list of float16 or float32"):
        element = pa.float16() if dtype == "float16" else pa.float32()
        return pa.list_(pa.field("element", element, nullable=False), kit.DIM)
    return TYPES[text]


def nullable(text: str) -> bool:
    return text.endswith("or null")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_columns_of_the_embeddings(dtype):
    said = table(3)
    schema = embeddings_schema(kit.DIM, dtype)
    assert schema.names == list(said)
    for field in schema:
        assert field.type == arrow_type(said[field.name], dtype), field
        assert field.nullable is nullable(said[field.name]), field


def predictions_said() -> dict[str, str]:
    text = re.search(r"Columns: (.*?)\. Equal", section(4), re.S)
    assert text
    as_above, own = re.split(r"as above, and", text.group(1))
    shared = {name: table(3)[name] for name in NAME.findall(as_above)}
    return {**shared, **dict(re.findall(r"`([a-z_]+)` \(([a-z0-9]+)", own))}


def test_columns_of_the_predictions():
    said = predictions_said()
    schema = predictions_schema()
    assert schema.names == list(said)
    for field in schema:
        assert field.type == TYPES[said[field.name]], field
        assert field.nullable is nullable(said[field.name]), field


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root, config = kit.new_store(tmp_path_factory.mktemp("format"))
    items = [(kit.recording("a.wav"), 3), (kit.recording("b.wav"), 0)]
    kit.write_part(root, config, items, site="x/y z", date=None)
    write_snapshot(root, config, load_ledger(root))
    return root, config, items


def files_of(root, dataset):
    return [name for name in kit.tree(root) if name.startswith(f"{dataset}/")]


@pytest.mark.parametrize("dataset", ["embeddings", "predictions"])
def test_the_files_have_those_columns(store, dataset):
    root, config, _ = store
    (name,) = files_of(root, dataset)
    schema = pq.read_schema(f"{root}/{name}").remove_metadata()
    expected = embeddings_schema(kit.DIM, config.dtype) if dataset == "embeddings" else predictions_schema()
    assert schema == expected
    assert {"site", "date"}.isdisjoint(schema.names)


def test_the_settings_have_the_keys_listed(store):
    root, _, _ = store
    value = json.loads(Path(root, "sonotheque.json").read_text())
    assert list(value) == list(table(2))
    texts = {row.split("|")[1].strip(" `"): row for row in section(2).splitlines() if row.startswith("| `")}
    for key in ("model", "windows", "decode"):
        said = NAME.findall(texts[key].split("|")[2])
        assert set(value[key]) <= set(said), key
        assert [w for w in said if w not in value[key]] in ([], ["mean", "first"]), key


def test_the_ledger_has_the_keys_listed(store):
    root, config, items = store
    (name,) = files_of(root, "embeddings")
    ledger = kit.footer(f"{root}/{name}")
    assert set(ledger) == set(table(5))
    assert (ledger["site"], ledger["date"], ledger["rows"]) == ("x/y z", None, 3)
    assert (ledger["format_version"], ledger["store_digest"]) == (2, config.digest)
    assert set(ledger["predictions"]) == {"file", "rows", "sha256"}
    (predictions,) = files_of(root, "predictions")
    assert ledger["predictions"]["file"] == Path(predictions).name
    assert ledger["predictions"]["sha256"] == kit.sha256_of(f"{root}/{predictions}")
    assert [f["path"] for f in ledger["files"]] == [rec.source.path for rec, _ in items]
    assert [f["first_row"] for f in ledger["files"]] == [0, 3]


def test_each_file_of_the_ledger_has_the_keys_listed(store):
    root, _, _ = store
    text = re.search(r"^Each file: (.*?)Nothing in the footer", section(5), re.M | re.S)
    assert text
    time_keys = re.search(r"`time` \((.*?)\)", text.group(1), re.S)
    said = NAME.findall(re.sub(r"\(.*?\)", "", text.group(1), flags=re.S))
    (name,) = files_of(root, "embeddings")
    for entry in kit.footer(f"{root}/{name}")["files"]:
        assert set(entry) == set(said)
        assert set(entry["time"]) == set(NAME.findall(time_keys.group(1)))
        assert entry["top"] is None or set(entry["top"]) == {"label", "score", "start_s"}


def test_the_footer_is_ascii(store):
    root, _, _ = store
    (name,) = files_of(root, "embeddings")
    assert pq.read_metadata(f"{root}/{name}").metadata[b"sonotheque.part"].isascii()


def test_a_snapshot_has_the_keys_listed(store):
    root, _, _ = store
    text = re.search(r"`\{(.*?)\}`", section(7), re.S)
    outer, parts = re.match(r"(.*?)parts: \[\{(.*?)\}\]", text.group(1), re.S).groups()
    said_part = re.findall(r"([a-z_0-9]+)(?::|,|$)", re.sub(r"\[.*?\]", "", parts, flags=re.S))
    value = json.loads(Path(root, "snapshots/1.json").read_text())
    assert set(value) == {*re.findall(r"[a-z_]+", outer), "parts"}
    for part in value["parts"]:
        assert set(part) == set(said_part)
        assert not part["embeddings"].startswith("/")


def test_a_compacted_part_has_the_keys_listed(tmp_path):
    """Section 9: what it has beyond an ordinary part, and nothing else."""
    root, config = kit.new_store(tmp_path)
    for name in "ab":
        kit.write_part(root, config, [(kit.recording(f"{name}.wav"), 1)])
    plain = kit.footer(f"{root}/{files_of(root, 'embeddings')[0]}")
    made = compact(root)
    assert made.made == 1
    (footer,) = (f for n in files_of(root, "embeddings") if "compacted_from" in (f := kit.footer(f"{root}/{n}")))
    said = table(9)
    assert set(footer) - set(plain) == {key for key, where in said.items() if where == "the part"}
    of_files = {key for key, where in said.items() if where == "each file"}
    assert set(footer["files"][0]) - set(plain["files"][0]) == of_files - set(plain["files"][0])
    changed = {k for k, v in plain["files"][0].items() if footer["files"][0][k] != v}
    assert changed <= of_files


def test_the_tree_is_as_drawn(store):
    """Every file lies where section 1 draws it."""
    root, _, _ = store
    drawn = re.findall(r"^<store>/(\S+)", section(1), re.M)
    rules = []
    for line in drawn:
        rule = re.escape(line)
        for placeholder, pattern in (
            ("<s>", "[^/]+"),
            ("<d>", "[^/]+"),
            ("<id>", "[0-9a-f]{32}"),
            ("<n>", "[1-9][0-9]*"),
        ):
            rule = rule.replace(re.escape(placeholder), pattern)
        rules.append(rule.replace("…", ".*"))
    assert len(rules) == 14
    names = list(kit.tree(root))
    assert len(names) == 4
    for name in names:
        assert any(re.fullmatch(rule, name) for rule in rules), name


# --- paths ---

SITES = {
    "A": "A",
    "007": "007",
    "two words": "two%20words",
    "x/y": "x%2Fy",
    "100%": "100%25",
    "a=b": "a%3Db",
    "Ö": "%C3%96",
    "a+b": "a%2Bb",
}


@pytest.mark.parametrize(("site", "encoded"), SITES.items(), ids=SITES)
@pytest.mark.parametrize("day", ["2024-05-01", None], ids=["dated", "undated"])
def test_a_place_is_encoded_and_read_back(site, encoded, day):
    folder = layout.partition(site, day)
    assert folder == f"site={encoded}/date={day or '__HIVE_DEFAULT_PARTITION__'}"
    assert layout.parse_partition(f"embeddings/{folder}/part-x.parquet") == (site, day)


@pytest.mark.parametrize("folder", ["", "embeddings", "embeddings/site=A", "embeddings/date=2024-05-01"])
def test_what_is_no_place(folder):
    assert layout.parse_partition(folder) is None


NAMES = {
    "part-ab.parquet": "ab",
    "part-ab.0123456789ab.parquet": "ab",
    "part-ab.parquet.tmp": None,
    "ab.parquet": None,
    ".part-ab.parquet": None,
    "part-ab": None,
    "notes.txt": None,
}


@pytest.mark.parametrize(("name", "identity"), NAMES.items(), ids=NAMES)
def test_a_part_s_name(name, identity):
    assert layout.part_id_of(name) == identity


def test_part_names_are_read_back():
    assert layout.part_id_of(layout.part_name("ab" * 16)) == "ab" * 16
    assert layout.part_id_of(layout.part_name("ab" * 16, "cd" * 32)) == "ab" * 16
    assert layout.part_name("ab", "0123456789abcdef") == "part-ab.0123456789ab.parquet"
