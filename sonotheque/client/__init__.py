"""A served archive from Python: search, listen, judge, train. Needs httpx and nothing of the archive's own code."""

from sonotheque.client.client import Client
from sonotheque.client.nouns import Hit, Identified, Job, JobEvent, Prediction, SearchResult, SqlResult, Window
from sonotheque.client.paging import Pages, Rows

__all__ = [
    "Client",
    "Hit",
    "Identified",
    "Job",
    "JobEvent",
    "Pages",
    "Prediction",
    "Rows",
    "SearchResult",
    "SqlResult",
    "Window",
]
