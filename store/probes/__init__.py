"""Probes as they are kept: numbered versions that never change, and a log of which one is in use. Bytes in, bytes out."""

from store.probes.names import check_name
from store.probes.promotions import Promotion, in_use, promotion_stack, read_promotions
from store.probes.sweeping import sweep_unfinished
from store.probes.versions import ProbeStore

__all__ = [
    "ProbeStore",
    "Promotion",
    "check_name",
    "in_use",
    "promotion_stack",
    "read_promotions",
    "sweep_unfinished",
]
