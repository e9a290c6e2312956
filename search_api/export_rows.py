"""Rows of an archive as exports need them: in the order of their recordings, site by site, so that none is held whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from search_api.locating import Locator
from sonotheque.core.filters import SearchFilter
from store import Archive
from store.annotations import overlap_sql
from store.formats import Detections, Facts
from store.formats.vectors import WINDOW_SCHEMA, Vectors

RELATIONS: Final = ("windows", "recordings", "annotations", "predictions")
_BLOCK_ROWS: Final = 65_536
_SORTED_ROWS: Final = 2_000_000  # sorting 10^7 at once takes 3.5 GB
_VECTOR_ROWS: Final = 2_048  # measured with 1024 values each: 450 MB in all however many windows, 1 GB with 8,192
_ORDER: Final = "r.site, r.local_start NULLS LAST, r.utc_start NULLS LAST, r.path"
_DETECTION: Final = (
    "recording_id, path, site, deployment, start_s, end_s, utc_start, local_start, rank, label, logit, score"
)
_RECORDING: Final = (
    "r.recording_id, r.path, r.site, r.deployment, r.duration_s, r.sample_rate_hz, r.channels, r.container, r.codec, r.latitude, "
    "r.longitude, r.utc_start, r.local_start, r.recorder, json_extract_string(r.device, '$.serial') AS serial, r.time_issues"
)
_DAMAGED: Final = ("truncated", "corrupt", "short", "header_repaired")
_BIRDNET_HEARS_HZ: Final = 15_000.0  # the end of its spectrograms, at its own rate


@dataclass(frozen=True, slots=True)
class Query:
    """A result, block by block.

    Attributes
    ----------
    schema : pyarrow.Schema
    blocks : iterator of pyarrow.RecordBatch
    """

    schema: pa.Schema
    blocks: Iterator[pa.RecordBatch]


class Reading:
    """What one export reads.

    Parameters
    ----------
    archive : Archive
    where : SearchFilter
    progress : callable, optional
        Called with (rows done, rows in all).
    """

    def __init__(
        self, archive: Archive, where: SearchFilter, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._archive, self._where, self._progress = archive, where, progress
        nothing = dict.fromkeys(("label", "score_min", "score_max", "rank_max"))
        self._places = where.merged(
            **nothing
        )  # which recordings are meant, also where none of their windows has the label

    def count(self, relation: str) -> int:
        """Return how many windows or predictions the filter means."""
        query, parameters = self._archive.select(self._where, relation=relation, columns="count(*)")
        return int(self._archive.sql(query, parameters).column(0)[0].as_py())

    def detections(self, locator: Locator) -> Detections:
        """Return the predictions that the filter means, and all recordings that its place and time leave.

        Recordings are in the order of site, start and path; those that cannot be read are not among them.
        """
        recordings = self.recordings(locator)
        sites = list(dict.fromkeys(recordings["site"].to_pylist()))
        return Detections(recordings, self._counted("predictions", self._predictions(sites)), self.facts())

    def recordings(self, locator: Locator) -> pa.Table:
        """Return all recordings that the filter's place and time leave and that can be read, in the order of every export."""
        recordings = self._recordings()
        files = pa.array(locator.told(recordings["path"].to_pylist()), pa.string())
        return recordings.append_column("file", files)

    def damage_notes(self) -> tuple[str, ...]:
        """Say that lengths may be counted otherwise, where files are damaged."""
        marks = ", ".join("?" * len(_DAMAGED))
        condition, parameters = self._listed()
        found = self._archive.sql(
            f"SELECT count(*), min(r.path) FROM recordings r WHERE {condition} AND r.status IN ({marks})",
            [*parameters, *_DAMAGED],
        )
        count, path = found.column(0)[0].as_py(), found.column(1)[0].as_py()
        if not count:
            return ()
        return (
            f"{count:,} of the recordings are damaged, the first: {path}. Their lengths here are what could be decoded; a program "
            "that goes by their headers places everything after them otherwise",
        )

    def vectors(self, about: dict[str, Any]) -> Vectors:
        """Return the vectors of the windows that the filter means, read block by block."""
        columns = ", ".join([*WINDOW_SCHEMA.names, "part_id", "part_row"])

        def blocks() -> Iterator[tuple[pa.Table, Any]]:
            for batch in self._counted("windows", self._windows(columns, _VECTOR_ROWS)):
                table = pa.Table.from_batches([batch])
                yield table, self._archive.vectors_of(table)

        plain = {k: v for k, v in about.items() if isinstance(v, str | int | float)}
        return Vectors(blocks(), self._archive.config.model.dim, {**plain, "filter": str(about.get("filter", ""))})

    def rows(self, relation: str) -> Query:
        """Return the rows of a view that the filter means, as they are.

        Parameters
        ----------
        relation : str
            Of ``RELATIONS``. A recording or annotation is meant if one of its windows is.
        """
        if relation in ("windows", "predictions"):
            empty = self._archive.sql(f"SELECT * FROM {relation} LIMIT 0").schema
            blocks = self._windows("*", _BLOCK_ROWS) if relation == "windows" else self._predictions(None, "*")
            return Query(empty, self._counted(relation, blocks))
        query, parameters = self._whole_rows(relation)
        table = self._archive.sql(query, parameters)
        return Query(table.schema, iter(table.to_batches(max_chunksize=_BLOCK_ROWS)))

    def clip_rows(self, most: int) -> tuple[pa.Table, int]:
        """Return the rows to cut clips of, best score first or in the order of time, and how many match in all."""
        asks = self._where.asks_predictions
        if asks:
            # One clip a window, whatever the number of its labels that match: of the best one.
            inner, parameters = self._archive.select(self._where, relation="predictions")
            inner += " QUALIFY row_number() OVER (PARTITION BY w.recording_id, w.start_sample ORDER BY w.score DESC, w.rank) = 1"
            order, extra = "p.score DESC", "p.label, p.score, "
        else:
            inner, parameters = self._archive.select(self._where)
            order, extra = "", ""
        order = ", ".join(filter(None, [order, "p.site, p.local_start NULLS LAST, p.path, p.start_sample"]))
        table = self._archive.sql(
            f"SELECT p.path, p.site, p.deployment, p.start_s, p.end_s, p.local_start, p.utc_start, {extra}r.size_bytes "
            f"FROM ({inner}) p JOIN recordings r ON r.recording_id = p.recording_id ORDER BY {order} LIMIT {int(most)}",
            parameters,
        )
        return table, self.count("windows")

    def facts(self) -> Facts:
        """Return what holds for every row of the archive's model."""
        config = self._archive.config
        rule, model = config.windows, config.model
        is_birdnet = model.name.startswith("birdnet")
        high_hz = _BIRDNET_HEARS_HZ if is_birdnet else rule.sample_rate_hz / 2
        return Facts(
            model.name,
            model.version,
            overlap_s=round(rule.seconds(rule.window_samples - rule.hop_samples), 6),
            sensitivity=1.0 if is_birdnet else None,
            high_hz=high_hz * rule.rate_factor,
        )

    def _recordings(self) -> pa.Table:
        condition, parameters = self._listed()
        return self._archive.sql(
            f"SELECT {_RECORDING} FROM recordings r WHERE {condition} ORDER BY {_ORDER}", parameters
        )

    def _listed(self) -> tuple[str, list[Any]]:
        """Return the condition of the recordings of an export: with sound, and left by the filter's place and time."""
        readable = "r.outcome <> 'failed' AND r.duration_s > 0"
        if self._places.is_empty:
            return readable, []
        windows, parameters = self._archive.select(self._places, columns="w.recording_id")
        return f"{readable} AND r.recording_id IN ({windows})", parameters

    def _predictions(self, sites: Iterable[str] | None, columns: str = _DETECTION) -> Iterator[pa.RecordBatch]:
        named = ", ".join(f"p.{c.strip()}" for c in columns.split(","))
        for site in self._sites() if sites is None else sites:
            query, parameters = self._archive.select(self._where.merged(sites=(site,)), relation="predictions")
            for condition, borders in self._pieces(site):
                ordered = (
                    f"SELECT {named} FROM ({query}) p JOIN recordings r ON r.recording_id = p.recording_id "
                    f"WHERE {condition} ORDER BY {_ORDER}, p.start_sample, p.rank"
                )
                yield from self._archive.batches(ordered, [*parameters, *borders], rows=_BLOCK_ROWS)

    def _pieces(self, site: str) -> Iterator[tuple[str, list[Any]]]:
        """Yield conditions on ``r`` that cut a site's recordings into pieces that can be sorted in memory, in their order."""
        starts = self._archive.sql(
            "SELECT local_start, sum(windows)::BIGINT AS n FROM recordings WHERE site = ? GROUP BY local_start "
            "ORDER BY local_start NULLS LAST",
            [site],
        )
        most = max(1, _SORTED_ROWS // max(1, self._archive.config.top_k))
        piece = np.cumsum(starts["n"].to_numpy()) // most
        moments = starts["local_start"].to_pylist()
        borders = [moments[i] for i in np.flatnonzero(np.diff(piece)) + 1 if moments[i] is not None]
        for first, end in itertools.pairwise([None, *borders, None]):
            terms = ["r.local_start >= ?"] * (first is not None) + ["r.local_start < ?"] * (end is not None)
            condition = " AND ".join(terms) or "true"
            if end is None and first is not None:
                condition += " OR r.local_start IS NULL"
            yield condition, [moment for moment in (first, end) if moment is not None]

    def _windows(self, columns: str, rows: int) -> Iterator[pa.RecordBatch]:
        for site in self._sites():
            query, parameters = self._archive.select(self._where.merged(sites=(site,)), columns=columns)
            order = "w.local_start NULLS LAST, w.utc_start NULLS LAST, w.path, w.start_sample"
            yield from self._archive.batches(f"{query} ORDER BY {order}", parameters, rows=rows)

    def _sites(self) -> list[str]:
        """Return the sites that the filter leaves, by name; checks the names in it also where there is no site at all."""
        self._archive.select(self._where)
        known = self._archive.sql("SELECT site FROM sites ORDER BY site")["site"].to_pylist()
        return [site for site in known if not self._where.sites or site in self._where.sites]

    def _whole_rows(self, relation: str) -> tuple[str, list[Any]]:
        if relation == "recordings":
            if self._where.is_empty:
                return f"SELECT * FROM recordings r ORDER BY {_ORDER}", []
            windows, parameters = self._archive.select(self._where, columns="w.recording_id")
            return f"SELECT * FROM recordings r WHERE r.recording_id IN ({windows}) ORDER BY {_ORDER}", parameters
        where, own, parameters = self._where, [], []
        for column, value in (("label", where.annotation_label), ("judgement", where.judgement)):
            if value is not None:
                own.append(f"a.{column} = ?")
                parameters.append(value)
        rest = where.merged(annotated=None, annotation_label=None, judgement=None)
        if not rest.is_empty:
            windows, more = self._archive.select(rest)
            overlap = overlap_sql("a", "v", "?")
            own.append(f"EXISTS (SELECT 1 FROM ({windows}) v WHERE v.recording_id = a.recording_id AND {overlap})")
            parameters += [*more, where.overlap_min_s]
        condition = " AND ".join(own) or "true"
        return (
            f"SELECT a.* FROM annotations a WHERE {condition} ORDER BY a.path, a.start_s, a.annotation_id",
            parameters,
        )

    def _counted(self, relation: str, blocks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield blocks, telling how far the reading is."""
        if self._progress is None:
            yield from blocks
            return
        done, total = 0, self.count(relation)
        for block in blocks:
            yield block
            done += block.num_rows
            self._progress(done, total)
