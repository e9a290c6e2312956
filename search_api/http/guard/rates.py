"""How often a caller may ask."""

from __future__ import annotations

import ipaddress
import math
import time
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import Scope

from search_api.http.guard.headers import values
from search_api.http.guard.refusals import RateLimited, state_of

HEALTH: Final = frozenset({"/healthz", "/readyz"})
WRONG_KEYS_PER_MIN: Final = 30
_KEYS_AT_ONE_ADDRESS: Final = 4  # a field station's people share one address
_CALLERS_MAX: Final = 20_000


def address_of(scope: Scope) -> str:
    """Return the network address that a request came from, whatever its headers say: those anybody can write.

    Of IPv6 the first 64 bits, which is what one customer has.
    """
    client = scope.get("client")
    if not client:
        return "unknown"
    try:
        address = ipaddress.ip_address(str(client[0]).partition("%")[0])
    except ValueError:
        return str(client[0])
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)).network_address)
    return str(address)


def who_of(scope: Scope) -> tuple[str, str]:
    """Return whom a request counts for: the key that it came with, else its address."""
    caller = state_of(scope).get("caller")
    return ("key", caller.key_id) if caller and caller.key_id else ("address", address_of(scope))


class Rates:
    """Counts requests of the last minute, by key and by address.

    Parameters
    ----------
    per_min : int
        Requests of one key, or of one address without a key; 0: no limit.
    uploads_per_min : int
        Of those, with sound in the body; 0: no limit.
    """

    def __init__(self, per_min: int, uploads_per_min: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._callers: set[tuple[str, ...]] = set()
        self._of_caller = _item(per_min)
        self._of_address = _item(per_min * _KEYS_AT_ONE_ADDRESS)
        self._of_uploads = _item(uploads_per_min)
        self._of_wrong = RateLimitItemPerMinute(WRONG_KEYS_PER_MIN)

    def __call__(self, scope: Scope) -> None:
        """Count a request; raise ``RateLimited`` if there were too many. Health is never counted."""
        if scope["path"] in HEALTH:
            return
        who = who_of(scope)
        if who[0] == "key":
            self._count(self._of_address, ("all", address_of(scope)))
        self._count(self._of_caller, who)
        if _is_upload(scope):
            self._count(self._of_uploads, ("upload", *who))

    def wrong_key(self, scope: Scope) -> None:
        """Count a key that is not valid; raise ``RateLimited`` if an address sends many."""
        self._count(self._of_wrong, ("wrong", address_of(scope)))

    def _count(self, item: RateLimitItem | None, who: tuple[str, ...]) -> None:
        if item is None:
            return
        if len(self._callers) >= _CALLERS_MAX:  # the library forgets requests, but never names
            self._limiter = MovingWindowRateLimiter(MemoryStorage())
            self._callers.clear()
        self._callers.add(who)
        if self._limiter.hit(item, *who):
            return
        wait_s = max(1, math.ceil(self._limiter.get_window_stats(item, *who).reset_time - time.time()))
        raise RateLimited(f"more than {item.amount:,} requests in a minute; ask again in {wait_s} s", wait_s)


def _item(per_min: int) -> RateLimitItem | None:
    return RateLimitItemPerMinute(per_min) if per_min > 0 else None


def _is_upload(scope: Scope) -> bool:
    if scope["method"] not in ("POST", "PUT", "PATCH"):
        return False
    kind = "".join(values(scope, b"content-type")).partition(";")[0].strip().lower()
    return kind != "" and not kind.endswith("json")
