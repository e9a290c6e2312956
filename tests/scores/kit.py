"""Small archives with probes, and the dumb twin: every score worked out one probe and one window at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from probes import Probe
from probes.files import to_files
from sonotheque.core.model_spec import ModelSpec
from store import Archive, StoreConfig, load_ledger, part_id, read_config, read_snapshot, write_snapshot
from store.probes import ProbeStore
from store.schema import LEDGER_KEY
from tests.store import kit

CLASSES = ("bark", "hoot", "screech_long", "Strix aluco")


def probe(
    name: str = "owl",
    version: int = 1,
    *,
    spec: ModelSpec | None = None,
    kind: str = "multilabel",
    classes: Sequence[str] = CLASSES[:3],
    seed: int = 0,
    **changes: Any,
) -> Probe:
    """A stored probe with weights that follow from its seed."""
    spec = spec or kit.model_spec()
    rng = np.random.default_rng([seed, version, *name.encode()])
    n = len(classes)
    made = Probe(
        name,
        version,
        kind,
        tuple(classes),
        spec,
        (rng.standard_normal((spec.dim, n)) * 5).astype(np.float32),
        rng.standard_normal(n).astype(np.float32),
        np.full(n, 0.8) if kind == "multiclass" else rng.uniform(0.5, 2.0, n),
        np.zeros(n) if kind == "multiclass" else rng.standard_normal(n),
        np.full(n, 0.5),
        {},
    )
    return replace(made, **changes)


def some_probes(spec: ModelSpec | None = None) -> list[Probe]:
    """Two kinds, one and several classes, shared class names."""
    return [
        probe("owl", spec=spec),
        probe("call", spec=spec, kind="multiclass", classes=("call", "none", "song")),
        probe("hoot", spec=spec, classes=("hoot",)),
        probe("which", 3, spec=spec, kind="multiclass", classes=CLASSES),
    ]


def keep(root: str, made: Probe, *, promote: bool = True) -> Probe:
    """Store a probe as a new version, in use at once."""
    store = ProbeStore(root)
    version = store.add(made.name, to_files(made))
    if promote:
        store.promote(made.name, version, "test")
    return replace(made, version=version)


def commit(
    root: str, config: StoreConfig, *items: tuple[str, int, int], site: str = "A", replaces: Iterable[str] = ()
) -> str:
    """Commit a part of (path, version, windows); its id."""
    made = [(kit.recording(path, site=site, version=v, replaces=list(replaces)), n) for path, v, n in items]
    kit.write_part(root, config, made, site=site)
    return part_id(config.digest, sorted((r for r, _ in made), key=lambda r: r.source.path))


def snap(root: str) -> None:
    write_snapshot(root, read_config(root), load_ledger(root))


def small(folder: Path, **options: Any) -> str:
    """Three parts at two sites; one file of the first was embedded again."""
    folder.mkdir(parents=True, exist_ok=True)
    root, config = kit.new_store(folder, kit.store_config(**options) if options else None)
    first = commit(root, config, ("A/1.wav", 1, 5), ("A/2.wav", 1, 3))
    commit(root, config, ("B/1.wav", 1, 4), site="B")
    commit(root, config, ("A/1.wav", 2, 4), replaces=[first])
    snap(root)
    return root


def linked(base: str, root: Path) -> str:
    """A copy whose files are links: none of them is ever written to."""
    shutil.copytree(base, root, copy_function=os.link)
    return str(root)


def scores_tree(root: str) -> dict[str, bytes]:
    return {name: data for name, data in kit.tree(root).items() if name.startswith("scores/")}


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["path"], row["start_sample"], row["probe"], row["version"], row["label"]


def twin(archive: Archive, probes: Sequence[Probe], floor: float = 0.01) -> dict[tuple[Any, ...], tuple[float, float]]:
    """(path, start, probe, version, label) -> (logit, score), of the live windows: one probe and one window at a time."""
    windows = archive.windows()
    vectors = archive.vectors_of(windows)
    found = {}
    for window, vector in zip(windows.to_pylist(), vectors, strict=True):
        for one in probes:
            logits = one.logits(vector[None])
            scores = one.probabilities(logits)
            for label, logit, score in zip(one.classes, logits[0], scores[0], strict=True):
                if score >= floor:
                    found[window["path"], window["start_sample"], one.name, one.version, label] = (
                        float(logit),
                        float(score),
                    )
    return found


def check_scores(
    found: Iterable[dict[str, Any]], expected: dict[tuple[Any, ...], tuple[float, float]], floor: float = 0.01
) -> None:
    """Rows are the twin's, each once; within a rounding error of the floor either answer is right."""
    rows = list(found)
    got = {key_of(row): (row["logit"], row["score"]) for row in rows}
    assert len(got) == len(rows), "a score is there twice"
    for key in got.keys() ^ expected.keys():
        assert abs((got.get(key) or expected[key])[1] - floor) < 1e-5, key
    for key in got.keys() & expected.keys():
        np.testing.assert_allclose(got[key], expected[key], rtol=2e-4, atol=2e-5)


def poisoned(root: str, value: float, windows: Sequence[int] = (1, 3), part: int = 0) -> str:
    """Put values that are not finite into a part's vectors, as damage on disk would; the part's id."""
    listed = read_snapshot(root).parts[part]
    path = Path(root, listed.embeddings)
    table = pq.read_table(path, partitioning=None)
    ledger = {LEDGER_KEY: pq.read_metadata(path).metadata[LEDGER_KEY]}
    kind = table.schema.field("embedding").type
    vectors = np.array(table["embedding"].to_pylist(), kind.value_type.to_pandas_dtype())
    vectors[list(windows), 0] = value
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=kind)
    number = table.schema.get_field_index("embedding")
    table = table.set_column(number, table.schema.field("embedding"), column)
    path.unlink()
    pq.write_table(table.replace_schema_metadata(ledger), path)
    return listed.part_id
