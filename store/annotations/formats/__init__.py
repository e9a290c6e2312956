"""Tables of annotations as other programs write and read them."""

from store.annotations.formats.raw import RawAnnotation
from store.annotations.formats.registry import FORMATS, Format, detect, format_named, read_table

__all__ = ["FORMATS", "Format", "RawAnnotation", "detect", "format_named", "read_table"]
