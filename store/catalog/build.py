"""Builds the catalog: what is missing of it, unit by unit, then the manifest that names everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import polars as pl

from store import layout
from store.catalog.files import PREDICTION_GROUP_ROWS, WINDOW_GROUP_ROWS, frame_digest, put_table
from store.catalog.frames import UnitPlan, sites_frame, stored_frame, unit_plans
from store.catalog.manifest import Manifest, Unit, UnitFault, manifest_of, parts_digest
from store.catalog.unit_rows import prediction_rows, window_rows
from store.config import StoreConfig, temp_name
from store.fsops import FileOps, LocalFileOps, put_new, store_errors
from store.metadata import MetadataState
from store.metadata.effective import apply_metadata
from store.snapshots import Snapshot, SnapshotPart

Progress = Callable[[int, int], None]  # units done, units in all


@dataclass(slots=True)
class CatalogBuilder:
    """Makes one catalog.

    Attributes
    ----------
    root : str
        The store.
    base : str
        Where the catalog goes: the store, or another folder if the store cannot be written to.
    config, snapshot, state
        What it is made from.
    without : dict
        Path of a damaged part's file -> why: left out.
    """

    root: str
    base: str
    config: StoreConfig
    snapshot: Snapshot
    state: MetadataState
    without: dict[str, str] = field(default_factory=dict)
    ops: FileOps = field(default_factory=LocalFileOps)
    bytes_written: int = 0
    built: int = 0

    def build(self, progress: Progress | None = None) -> Manifest:
        """Build it, reusing every file of earlier ones that was made from the same values.

        Raises
        ------
        UnitFault
            If a part cannot be read.
        Unavailable
            If the base cannot be written to.
        """
        parts = {p.part_id: p for p in self.snapshot.parts if not self._is_left_out(p)}
        stored = stored_frame(self.root, list(parts.values()), self._stored_before())
        recordings = apply_metadata(stored, self.state)
        plans = list(unit_plans(recordings, self.config.digest))
        renamed = set(recordings.filter(pl.col("site") != pl.col("stored_site"))["part_id"].unique())
        units = []
        for done, plan in enumerate(plans, 1):
            units.append(self._unit(plan, parts, renamed))
            if progress:
                progress(done, len(plans))
        manifest = Manifest(
            self.snapshot.number,
            self.state.version,
            self.config.digest,
            self._table("recordings", recordings.drop("part_key")),
            self._table("stored", stored),
            self._table("sites", sites_frame(recordings)),
            self._table("labels", self._labels(units)),
            tuple(units),
            parts_digest(self.snapshot),
        )
        self._write_manifest(manifest)
        return manifest

    def _is_left_out(self, part: SnapshotPart) -> bool:
        return part.embeddings in self.without or part.predictions in self.without

    def _unit(self, plan: UnitPlan, parts: dict[str, SnapshotPart], renamed: set[str]) -> Unit:
        """Return a unit, from its note if it was built before."""
        note = f"{self.base}/{layout.catalog_unit('units', plan.site, plan.month, plan.digest)}".replace(
            ".parquet", ".json"
        )
        known = self._note(note)
        if known is None:
            known = self._build_unit(plan, parts)
            with store_errors(self.base):
                data = json.dumps(asdict(known)).encode()
                put_new(self.ops, f"{self.base}/{layout.TMP}", temp_name("unit"), note, data)
        own = set(plan.recordings["part_id"].unique())
        moved = tuple(sorted(set(known.moved) | (renamed & own)))
        return replace(known, moved=moved)

    def _note(self, path: str) -> Unit | None:
        try:
            value = json.loads(self.ops.read(path))
            unit = Unit(**{**value, "moved": tuple(value["moved"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        there = all(self.ops.exists(f"{self.base}/{f}") for f in (unit.windows, unit.predictions) if f)
        return unit if there else None

    def _build_unit(self, plan: UnitPlan, parts: dict[str, SnapshotPart]) -> Unit:
        windows, moved = window_rows(self.root, plan.recordings, parts)
        names = {t: layout.catalog_unit(t, plan.site, plan.month, plan.digest) for t in ("windows", "predictions")}
        self.bytes_written += put_table(self.base, names["windows"], windows, WINDOW_GROUP_ROWS, self.ops)
        rows = 0
        if self.config.top_k:
            predictions = prediction_rows(self.root, windows, parts)
            rows = predictions.height
            self.bytes_written += put_table(
                self.base, names["predictions"], predictions, PREDICTION_GROUP_ROWS, self.ops
            )
        self.built += 1
        used = names["predictions"] if self.config.top_k else ""
        return Unit(plan.site, plan.month, names["windows"], used, windows.height, rows, tuple(sorted(moved)))

    def _table(self, name: str, frame: pl.DataFrame) -> str:
        flat = frame.with_columns(pl.col(c).list.join("; ") for c, t in frame.schema.items() if isinstance(t, pl.List))
        relative = layout.catalog_table(name, frame_digest(flat, layout.catalog_folder()))
        self.bytes_written += put_table(self.base, relative, frame, PREDICTION_GROUP_ROWS, self.ops)
        return relative

    def _labels(self, units: list[Unit]) -> pl.DataFrame:
        """Return the labels that occur, each with its number of rows."""
        schema = {"label": pl.String, "rows": pl.Int64}
        files = [f"{self.base}/{u.predictions}" for u in units if u.predictions]
        if not files:
            return pl.DataFrame(schema=schema)
        counts = (
            pl.scan_parquet(files, hive_partitioning=False, glob=False)
            .group_by("label")
            .agg(pl.len().cast(pl.Int64).alias("rows"))
        )
        return counts.sort("label").collect().cast(schema)  # type: ignore[arg-type]

    def _stored_before(self) -> pl.DataFrame | None:
        """Return the newest stored table of another catalog of this store, if there is one to read."""
        for manifest in self._manifests():
            try:
                return pl.read_parquet(f"{self.base}/{manifest.stored}", hive_partitioning=False, glob=False)
            except (OSError, pl.exceptions.PolarsError):
                continue
        return None

    def _manifests(self) -> list[Manifest]:
        folder = f"{self.base}/{layout.catalog_folder()}"
        found = []
        for name in self.ops.listdir(folder):
            if name.endswith(".json"):
                try:
                    found.append(manifest_of(json.loads(self.ops.read(f"{folder}/{name}"))))
                except (OSError, ValueError, KeyError, TypeError):
                    continue
        own = [m for m in found if m.store_digest == self.config.digest]
        return sorted(own, key=lambda m: (m.snapshot, m.metadata), reverse=True)

    def _write_manifest(self, manifest: Manifest) -> None:
        target = f"{self.base}/{layout.catalog_manifest(manifest.snapshot, manifest.metadata)}"
        data = json.dumps(manifest.to_json()).encode()
        with store_errors(self.base):
            self.ops.unlink(target)  # one that could not be read, or of files that are gone
            put_new(self.ops, f"{self.base}/{layout.TMP}", temp_name("manifest"), target, data)


__all__ = ["CatalogBuilder", "Manifest", "Progress", "UnitFault"]
