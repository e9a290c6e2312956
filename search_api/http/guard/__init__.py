"""What guards the service: who calls, from where, how often, how much at once. See README.md."""

from search_api.http.guard.callers import COOKIE, Caller, Door, caller_of, require_scope, session_token
from search_api.http.guard.crowd import Drain
from search_api.http.guard.hosts import is_loopback
from search_api.http.guard.installing import PAGES, install
from search_api.http.guard.measures import CONTENT_TYPE, Measures

__all__ = [
    "CONTENT_TYPE",
    "COOKIE",
    "PAGES",
    "Caller",
    "Door",
    "Drain",
    "Measures",
    "caller_of",
    "install",
    "is_loopback",
    "require_scope",
    "session_token",
]
