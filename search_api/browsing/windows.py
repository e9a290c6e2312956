"""Windows: pages of them, one with all that is known of it, and the model's and the probes' scores page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from search_api.browsing.identity import row_of_window, window_id
from search_api.browsing.pages import PLACE, Key, page_of
from search_api.browsing.probe_classes import thresholds_of
from search_api.browsing.recordings import recording_row
from search_api.browsing.wire import window_row, window_rows, with_annotations
from search_api.questions.values import column_values
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from sonotheque.core.suggest import did_you_mean
from store import Archive
from store.filtering import PREDICTIONS
from store.probes import ProbeStore, in_use

_SHOWN: Final = (
    "recording_id, start_sample, path, site, deployment, date, start_s, end_s, valid_s, utc_start, local_start"
)
_START: Final = Key("start_sample", int)
_PREDICTED: Final = "recording_id, start_sample, path, site, deployment, date, start_s, end_s, utc_start, local_start"


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page as JSON values; ``next`` is the cursor of the one after it, or None."""

    rows: list[dict[str, Any]]
    next: str | None


def list_windows(archive: Archive, wanted: SearchFilter, *, limit: int, cursor: str | None = None) -> ListPage:
    """Return a page of the windows that a filter means, with their annotations, by site, time and path.

    Raises
    ------
    NotFound
        If the filter names what is not in the store.
    Invalid, Conflict
        See :func:`search_api.browsing.pages.page_of`.
    """
    select = archive.select(wanted, columns=_SHOWN)
    found = page_of(archive, select, [*PLACE, _START], ["windows", wanted.to_json()], limit=limit, cursor=cursor)
    return ListPage(with_annotations(archive, window_rows(archive, found.table)), found.next)


def list_predictions(archive: Archive, wanted: SearchFilter, *, limit: int, cursor: str | None = None) -> ListPage:
    """Return a page of the model's predictions that a filter means: windows with ``label, score, logit, rank``.

    Raises
    ------
    NotFound, Invalid, Conflict
        As :func:`list_windows`.
    """
    select = archive.select(wanted, relation=PREDICTIONS, columns=f"{_PREDICTED}, rank, label, logit, score")
    keys = [*PLACE, _START, Key("rank", int)]
    found = page_of(archive, select, keys, ["predictions", wanted.to_json()], limit=limit, cursor=cursor)
    return ListPage(_with_columns(archive, found.table, ("label", "score", "logit", "rank")), found.next)


def list_scores(
    archive: Archive,
    wanted: SearchFilter,
    *,
    probe: str | None = None,
    label: str | None = None,
    least: float | None = None,
    limit: int,
    cursor: str | None = None,
) -> ListPage:
    """Return a page of what the probes in use said: windows with ``probe, version, label, score, logit``.

    Parameters
    ----------
    archive : Archive
    wanted : SearchFilter
        Which windows.
    probe, label : str, optional
        Only this probe, only this class.
    least : float, optional
        Least score.
    limit : int
    cursor : str, optional

    Raises
    ------
    NotFound
        If there is no such probe, or the filter names what is not in the store.
    Invalid, Conflict
        See :func:`search_api.browsing.pages.page_of`.
    """
    if least is not None and not 0.0 <= least <= 1.0:
        raise Invalid(f"least score {least:g}: a probability, from 0 to 1")
    query = f"SELECT {_PREDICTED}, probe, version, label, logit, score FROM scores w WHERE true"
    parameters: list[Any] = []
    if probe is not None:
        probe = ProbeStore(archive.root).require(probe)
    for term, value in (("probe = ?", probe), ("label = ?", label), ("score >= ?", least)):
        if value is not None:
            query, parameters = f"{query} AND w.{term}", [*parameters, value]
    if not wanted.is_empty:
        chosen, more = archive.select(wanted, columns="recording_id, start_sample")
        query, parameters = f"{query} AND (w.recording_id, w.start_sample) IN ({chosen})", [*parameters, *more]
    keys = [*PLACE, _START, Key("probe", str), Key("label", str)]
    asked = ["scores", wanted.to_json(), probe, label, least]
    found = page_of(archive, (query, parameters), keys, asked, limit=limit, cursor=cursor)
    if label is not None and not found.table.num_rows and cursor is None:
        _require_class(archive, label)
    return ListPage(_with_columns(archive, found.table, ("probe", "version", "label", "score", "logit")), found.next)


def window_detail(archive: Archive, text: str) -> dict[str, Any]:
    """Return a window with all that is known of it.

    Returns
    -------
    dict
        The window; ``predictions`` (``label, score, logit, rank``, best first), ``annotations`` that overlap it, ``scores`` of the
        probes in use (``probe, version, label, score, threshold``), ``previous`` and ``next`` (ids of the windows beside it in its
        recording, or None), ``recording``.

    Raises
    ------
    Invalid, NotFound
        See :func:`search_api.browsing.identity.row_of_window`.
    """
    row, recording = row_of_window(archive, text)
    place = [row["recording_id"], row["site"]]
    here = "recording_id = ? AND site = ?"
    beside = archive.sql(
        f"SELECT max(start_sample) FILTER (start_sample < ?) AS previous, min(start_sample) FILTER (start_sample > ?) AS next "
        f"FROM windows WHERE {here}",
        [row["start_sample"], row["start_sample"], *place],
    ).to_pylist()[0]
    own = [*place, row["start_sample"]]
    shown = with_annotations(archive, [window_row(row)])[0]
    return {
        **shown,
        "predictions": _columns_of(
            archive,
            f"SELECT label, score, logit, rank FROM predictions WHERE {here} AND start_sample = ? ORDER BY rank",
            own,
        ),
        "scores": _scores_of(archive, here, own),
        **{side: None if start is None else window_id(row["recording_id"], start) for side, start in beside.items()},
        "recording": recording_row(recording),
    }


def _scores_of(archive: Archive, here: str, own: list[Any]) -> list[dict[str, Any]]:
    if not in_use(archive.root):
        return []
    query = f"SELECT probe, version, label, score FROM scores WHERE {here} AND start_sample = ? ORDER BY probe, label"
    found = _columns_of(archive, query, own)
    thresholds = {name: thresholds_of(archive.root, name, version) for name, version in _probes_of(found)}
    return [{**row, "threshold": thresholds[row["probe"]].get(row["label"])} for row in found]


def _probes_of(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((row["probe"], row["version"]) for row in rows))


def _with_columns(archive: Archive, table: pa.Table, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    values = [column_values(table[name]) for name in columns]
    rows = window_rows(archive, table)
    return [{**row, **dict(zip(columns, own, strict=True))} for row, *own in zip(rows, *values, strict=True)]


def _columns_of(archive: Archive, query: str, parameters: list[Any]) -> list[dict[str, Any]]:
    table = archive.sql(query, parameters)
    values = [column_values(table[name]) for name in table.column_names]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*values, strict=True)]


def _require_class(archive: Archive, label: str) -> None:
    known = archive.sql("SELECT DISTINCT label FROM scores")["label"].to_pylist()
    if label not in known:
        raise NotFound(f"no probe in use has a score of a class {label!r}; {did_you_mean(label, known)}")
