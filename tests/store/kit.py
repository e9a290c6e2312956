"""Small stores for tests: a tiny model, made-up recordings, rows that follow from a seed, and a dumb twin of a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from sonotheque.core.ids import recording_id
from sonotheque.core.model_spec import ModelSpec, classes_digest
from sonotheque.core.outcome import DecodeSummary, Status, TopLabel
from sonotheque.core.recording import Recording, RecordingTime, SourceFile, printable_path
from sonotheque.core.windows import WindowRule
from store import Committed, PartWriter, StoreConfig, TopClasses, WindowRows, create_config, ledger_entry, part_id
from store.fsops import FileOps

DIM = 8
RATE_HZ = 48_000
WINDOW = 144_000
CLASSES = ("rain", "wind", "Strix aluco", "Parus major", "Ñandú")
LOCAL = datetime(2024, 5, 1, 4, 30, 0, 123_457)
UTC_START = datetime(2024, 5, 1, 2, 30, 0, 123_457, tzinfo=UTC)
TIME = RecordingTime(LOCAL, UTC_START, 120, "Europe/Berlin", "table")
NO_TIME = RecordingTime()


def model_spec(**changes: Any) -> ModelSpec:
    spec = ModelSpec(
        name="tiny",
        version="1",
        weights_digest="ab" * 32,
        sample_rate_hz=RATE_HZ,
        window_samples=WINDOW,
        dim=DIM,
        n_classes=len(CLASSES),
        classes_digest=classes_digest(CLASSES),
        score_rule="sigmoid",
    )
    return replace(spec, **changes)


def store_config(
    *, dim: int = DIM, dtype: str = "float16", top_k: int = 2, rate_factor: float = 1.0, hop_samples: int = WINDOW
) -> StoreConfig:
    rule = WindowRule(RATE_HZ, WINDOW, hop_samples, RATE_HZ, rate_factor)
    return StoreConfig(
        model_spec(dim=dim), rule, {"channels": "mean", "block_s": 30, "resampler": "soxr"}, dtype, top_k
    )


def recording(
    path: str, *, site: str = "A", version: int = 1, time: RecordingTime = TIME, replaces: Sequence[str] = ()
) -> Recording:
    """One file; ``version`` stands for its bytes: another version has another size and time of change."""
    source = SourceFile(path, 1000 + version, 1_700_000_000_000_000_000 + version)
    return Recording(source, site, time, audio_s=9.0, device={"recorder": "AudioMoth"}, replaces=tuple(replaces))


def window_rows(
    rec: Recording, n: int, config: StoreConfig, *, seed: int = 0, perturb: float = 0.0, first: int = 0
) -> WindowRows:
    """Windows ``first`` to ``first + n`` of a recording; values follow from its path, version, window and seed alone.

    ``perturb``: relative change of every float, as another CPU would make.
    """
    vectors, logits = [], []
    for window in range(first, first + n):
        key = f"{rec.source.path!r}|{rec.source.mtime_ns}|{window}|{seed}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big"))
        vectors.append(rng.standard_normal(config.model.dim) * (1 + perturb))
        logits.append(rng.standard_normal(config.model.n_classes) * (1 + perturb))
    embeddings = np.array(vectors, np.float32).reshape(n, config.model.dim)
    starts = np.arange(first, first + n, dtype=np.int64) * config.windows.hop_samples
    valid = np.full(n, config.windows.window_samples, np.int64)
    top = None
    if config.top_k:
        all_logits = np.array(logits, np.float32).reshape(n, config.model.n_classes)
        index = np.argsort(-all_logits, axis=1, kind="stable")[:, : config.top_k].astype(np.int32)
        logit = np.take_along_axis(all_logits, index.astype(np.int64), axis=1)
        top = TopClasses(index, logit, (1 / (1 + np.exp(-logit))).astype(np.float32))
    return WindowRows(rec, starts, valid, embeddings, top)


def summary(n: int) -> DecodeSummary:
    if n == 0:
        return DecodeSummary(Status.UNREADABLE, "no decoder can read it")
    return DecodeSummary(Status.OK, "", RATE_HZ, 1, n * WINDOW, n * WINDOW, n * WINDOW / RATE_HZ, "WAV", "PCM_16")


def entries(items: Iterable[tuple[Recording, int]]) -> list[dict[str, Any]]:
    """The ledger's objects of a part's files, with ``n`` windows each."""
    out, first_row = [], 0
    for rec, n in items:
        top = TopLabel("rain", 0.5, 0.0) if n else None
        out.append(ledger_entry(rec, summary(n), windows=n, first_row=first_row, top=top))
        first_row += n
    return out


def write_part(
    root: str,
    config: StoreConfig,
    items: Sequence[tuple[Recording, int]],
    *,
    site: str | None = None,
    date: str | None = "2024-05-01",
    perturb: float = 0.0,
    batch: int | None = None,
    classes: tuple[str, ...] = CLASSES,
    ops: FileOps | None = None,
) -> Committed:
    """Write and commit one part of ``(recording, windows)`` items; ``batch`` windows an ``add``."""
    items = sorted(items, key=lambda item: item[0].source.path)
    recordings = [rec for rec, _ in items]
    identity = part_id(config.digest, recordings)
    where = site if site is not None else recordings[0].site
    with PartWriter(root, config, part_id=identity, site=where, date=date, classes=classes, ops=ops) as part:
        for rec, n in items:
            step = batch or n or 1
            for first in range(0, n, step):
                part.add(window_rows(rec, min(step, n - first), config, perturb=perturb, first=first))
        return part.commit(entries(items))


def new_store(folder: Path, config: StoreConfig | None = None) -> tuple[str, StoreConfig]:
    """An empty store with its settings."""
    config = config or store_config()
    root = str(folder / "store")
    create_config(root, config)
    return root, config


def tree(root: str) -> dict[str, bytes]:
    """Every file of a store but the temporary ones, with its bytes."""
    base = Path(root)
    found = {p.relative_to(base).as_posix(): p for p in base.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items()) if not name.startswith("_tmp/")}


def temporary_files(root: str) -> list[str]:
    folder = Path(root) / "_tmp"
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def footer(path: str | Path) -> dict[str, Any]:
    """A part's ledger, read with nothing but pyarrow and json."""
    import pyarrow.parquet as pq

    return json.loads(pq.read_metadata(str(path)).metadata[b"sonotheque.part"])


def sha256_of(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def moment(start: datetime | None, seconds: float) -> datetime | None:
    return None if start is None else start + timedelta(microseconds=round(seconds * 1e6))


@dataclass
class Twin:
    """A store as a list of dicts: what any reader must see. Knows nothing of Parquet or Arrow."""

    config: StoreConfig
    rows: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)

    def add(self, rec: Recording, n: int, *, site: str | None = None, date: str | None = "2024-05-01") -> None:
        rule, made = self.config.windows, window_rows(rec, n, self.config)
        stored = made.embeddings.astype(np.dtype(self.config.dtype)).astype(np.float32)
        per_second = rule.sample_rate_hz * rule.rate_factor
        for i in range(n):
            start_s = int(made.start_samples[i]) / per_second
            place = {
                "recording_id": recording_id(rec.source.path),
                "path": printable_path(rec.source.path),
                "start_sample": int(made.start_samples[i]),
                "start_s": start_s,
                "end_s": start_s + rule.window_samples / per_second,
                "utc_start": moment(rec.time.utc_start, start_s),
                "local_start": moment(rec.time.local_start, start_s),
                "site": rec.site if site is None else site,
                "date": None if date is None else datetime.fromisoformat(date).date(),
            }
            valid_s = int(made.valid_samples[i]) / per_second
            self.rows.append({**place, "valid_s": valid_s, "embedding": stored[i].tolist()})
            for rank in range(self.config.top_k):
                assert made.top is not None
                chosen = {
                    "rank": rank + 1,
                    "label": CLASSES[made.top.index[i, rank]],
                    "logit": float(made.top.logit[i, rank]),
                    "score": float(made.top.score[i, rank]),
                }
                self.predictions.append({**place, **chosen})


def by_identity(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in one order, for comparing: by site, date, recording, window, rank."""
    return sorted(
        rows, key=lambda r: (r["site"], str(r.get("date")), r["recording_id"], r["start_sample"], r.get("rank", 0))
    )
