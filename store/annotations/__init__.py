"""Annotations: judgements on spans of recordings, in an append-only SQLite log."""

from store.annotations.annotation import ANNOTATION_SCHEMA, Annotation
from store.annotations.log import EVENT_SCHEMA, Added, AnnotationLog
from store.annotations.overlap import overlap_sql, windows_of
from store.annotations.undo import Undone

__all__ = [
    "ANNOTATION_SCHEMA",
    "EVENT_SCHEMA",
    "Added",
    "Annotation",
    "AnnotationLog",
    "Undone",
    "overlap_sql",
    "windows_of",
]
