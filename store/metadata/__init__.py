"""What people say of places, clocks and deployments after recordings were embedded, with its history.

The functions that apply it are in ``store.metadata.effective``, which needs Polars; reading the log does not.
"""

from store.metadata.change import Change, ClockChange, DeploymentsChange, Scope, SiteChange, Undo, change_to_json
from store.metadata.log import Entry, MetadataState, latest_metadata, read_metadata, state_of, write_change

__all__ = [
    "Change",
    "ClockChange",
    "DeploymentsChange",
    "Entry",
    "MetadataState",
    "Scope",
    "SiteChange",
    "Undo",
    "change_to_json",
    "latest_metadata",
    "read_metadata",
    "state_of",
    "write_change",
]
