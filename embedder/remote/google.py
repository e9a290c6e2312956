"""Google Cloud Storage through gcsfs' session and its own few tries."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from requests.exceptions import RequestException

from embedder.remote.facts import ObjectFacts, Page
from embedder.remote.faults import RemoteError

_FIELDS: Final = "name,size,timeCreated,generation"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=120, sock_connect=10, sock_read=30)

logging.getLogger("gcsfs").addHandler(logging.NullHandler())  # it logs what it raises as well


class GoogleClient:
    """Requests to Google Cloud Storage.

    Parameters
    ----------
    anonymous : bool
        Send no credentials; else Google's defaults, and none where there are none.
    """

    def __init__(self, *, anonymous: bool) -> None:
        self._anonymous = anonymous
        try:
            self._fs = GCSFileSystem(
                token="anon" if anonymous else None,
                access="read_only",
                skip_instance_cache=True,
                use_listings_cache=False,
                requests_timeout=_TIMEOUT,
            )
        except (GoogleAuthError, OSError, ValueError) as error:
            raise RemoteError("forbidden", "gs://", f"no usable credentials ({error})") from error

    def page(self, bucket: str, prefix: str, token: str, limit: int) -> Page:
        """Return the next objects of a listing."""
        asked = {"prefix": prefix, "maxResults": limit, "fields": f"nextPageToken,items({_FIELDS})"}
        if token:
            asked["pageToken"] = token
        answer = self._ask(bucket, prefix, "b/{}/o", bucket, json_out=True, **asked)
        return Page([_facts(item) for item in answer.get("items", [])], answer.get("nextPageToken", ""))

    def facts(self, bucket: str, key: str) -> ObjectFacts:
        """Return what is known of one object."""
        return _facts(self._ask(bucket, key, "b/{}/o/{}", bucket, key, json_out=True, fields=_FIELDS))

    def fetch(self, bucket: str, key: str, start: int, stop: int, version: str, into: bytearray) -> None:
        """Append a range of an object: all of it or nothing, gcsfs hands over whole answers."""
        place = f"{self._fs.base.removesuffix('/storage/v1/')}/download/storage/v1/b/{bucket}/o/{quote(key, safe='')}"
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        pinned = {"ifGenerationMatch": version} if version else {}
        _, data = self._ask(bucket, key, place, alt="media", headers=headers, **pinned)
        into.extend(data)

    def _ask(self, bucket: str, key: str, path: str, *args: str, **asked: Any) -> Any:
        url = f"gs://{bucket}/{key}".rstrip("/")
        try:
            return self._fs.call("GET", path, *args, **asked)
        except FileNotFoundError as error:
            raise RemoteError("absent", url, "there is no such object or bucket") from error
        except FileExistsError as error:  # gcsfs' word for an unmet condition
            raise RemoteError("changed", url, "another object has this name now") from error
        except HttpError as error:
            raise _fault(error, url) from error
        except (RefreshError, DefaultCredentialsError) as error:
            raise RemoteError("expired", url, f"{error}") from error
        except (TimeoutError, aiohttp.ClientError, RequestException) as error:
            raise RemoteError("passing", url, str(error) or type(error).__name__) from error
        except (OSError, ValueError) as error:
            words = str(error).replace("\n", ": ")
            raise RemoteError("forbidden" if words.startswith("Forbidden") else "passing", url, words) from error


def _facts(item: dict[str, Any]) -> ObjectFacts:
    # `updated` also moves when somebody edits a label; `timeCreated` is that of this content.
    return ObjectFacts(
        item["name"], int(item["size"]), datetime.fromisoformat(item["timeCreated"]), str(item["generation"])
    )


def _fault(error: HttpError, url: str) -> RemoteError:
    code = int(error.code or 0)
    if code in (412, 416):
        return RemoteError("changed", url, "another object has this name now")
    if code == 401:
        invalid = "invalid" in str(error.message).lower()
        return RemoteError("expired" if invalid else "forbidden", url, str(error.message))
    return RemoteError("forbidden" if code == 403 else "passing", url, str(error.message))
