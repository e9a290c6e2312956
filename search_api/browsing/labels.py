"""Labels: the model's classes that occur, what annotators wrote, and the classes of the probes in use; found by any of their names."""

from __future__ import annotations

import unicodedata
from typing import Any

from search_api.browsing.probe_classes import thresholds_of
from store import Archive
from store.annotations.asking import label_counts
from store.labels import names_of
from store.probes import in_use


def names(label: str) -> dict[str, Any]:
    """Return ``label, scientific, common``; a label that is one name has None for both."""
    parts = names_of(label)
    scientific, common = parts if len(parts) == 2 else (None, None)
    return {"label": label, "scientific": scientific, "common": common}


def list_labels(archive: Archive, text: str = "", *, limit: int = 50) -> list[dict[str, Any]]:
    """Return labels that a text may mean.

    Parameters
    ----------
    archive : Archive
    text : str
        Part of any of a label's names; case, accents and kinds of apostrophes make no difference. Empty: all.
    limit : int

    Returns
    -------
    list of dict
        ``label, scientific, common``, ``source`` (``model``, ``annotation`` or ``probe``), ``windows`` (of the model: windows that it is
        among the best classes of; of annotations: spans; of a probe: None). Names that begin so first, then the commonest.
    """
    counted = archive.sql("SELECT label, rows FROM _labels").to_pylist()
    rows = [{**names(row["label"]), "windows": row["rows"], "source": "model"} for row in counted]
    rows += [{**names(label), "windows": n, "source": "annotation"} for label, n in label_counts(archive.root)]
    rows += [{**names(label), "windows": None, "source": "probe"} for label in _probe_classes(archive.root)]
    wanted = _plain(text)
    near = [(_nearness(row, wanted), row) for row in rows]
    found = [(rank, row) for rank, row in near if rank is not None]
    found.sort(key=lambda item: (item[0], -(item[1]["windows"] or 0), item[1]["label"], item[1]["source"]))
    return [row for _, row in found[:limit]]


def _nearness(row: dict[str, Any], wanted: str) -> int | None:
    """Return how well a label fits: 0 begins so, 1 a word of it does, 2 it is somewhere in it; None: not at all."""
    if not wanted:
        return 0
    texts = [_plain(text) for text in (row["label"], row["scientific"], row["common"]) if text]
    if any(text.startswith(wanted) for text in texts):
        return 0
    if any(f" {wanted}" in text for text in texts):
        return 1
    return 2 if any(wanted in text for text in texts) else None


def _probe_classes(root: str) -> list[str]:
    return sorted({label for name, version in in_use(root).items() for label in thresholds_of(root, name, version)})


def _plain(text: str) -> str:
    """Return a text without what a person who types it leaves out."""
    split = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in split if not unicodedata.combining(c)).translate({0x2019: "'", 0x2018: "'", 0x2010: "-"})
    return " ".join(bare.replace("_", " ").casefold().split())
