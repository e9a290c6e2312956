"""The page: one document for all its addresses, and the files that it loads."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

import search_api
from search_api.http.guard import PAGES
from sonotheque.core.errors import NotFound

FOLDER: Final = Path(search_api.__file__).parent / "ui"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
}
_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_METHODS: Final = ["GET", "HEAD"]


class Files:
    """Files below one folder, by names that cannot lead out of it.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], bytes, str]] = {}  # name -> when read, its bytes, its tag

    def open(self, name: str) -> tuple[bytes, str, str]:
        """Return a file's bytes, its tag and its content type.

        Raises
        ------
        NotFound
            If there is no such file, or it is not of a kind that a page loads. The message names nothing of the server.
        """
        parts = name.split("/")
        kind = TYPES.get(os.path.splitext(name)[1])
        # Hidden files, `..`, empty parts, other separators and bytes that are not ASCII are no names at all.
        if kind is None or not all(_PART.fullmatch(part) for part in parts):
            raise NotFound(f"the page has no file {name[:100]!r}")
        path = self._folder.joinpath(*parts)
        try:
            found = path.stat()
            if not (stat.S_ISREG(found.st_mode) and path.resolve().is_relative_to(self._folder.resolve())):
                raise NotFound(f"the page has no file {name[:100]!r}")
            when = (found.st_mtime_ns, found.st_size)
            known = self._read.get(name)
            if known is None or known[0] != when:
                data = path.read_bytes()
                known = self._read[name] = (when, data, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
        except OSError as error:
            raise NotFound(f"the page has no file {name[:100]!r}") from error
        return known[1], known[2], kind


def page_routes(folder: Path = FOLDER) -> APIRouter:
    """Return the routes of the page.

    Parameters
    ----------
    folder : Path
        Holds ``index.html`` and what it loads.
    """
    router = APIRouter(include_in_schema=False)
    files = Files(folder)

    async def page(request: Request) -> Response:
        return await _answer(files, "index.html", request)

    async def static(name: str, request: Request) -> Response:
        return await _answer(files, name, request)

    for address in PAGES:
        router.add_api_route(address, page, methods=_METHODS, response_class=Response)
    router.add_api_route("/ui/{name:path}", static, methods=_METHODS, response_class=Response)
    return router


router = page_routes()


async def _answer(files: Files, name: str, request: Request) -> Response:
    data, tag, kind = await run_in_threadpool(files.open, name)
    # Asked for again every time and sent only when it changed: a new version of the program is never mixed with an old one.
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if _matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=kind)


def _matches(wanted: str, tag: str) -> bool:
    return any(part.strip().removeprefix("W/") in (tag, "*") for part in wanted.split(","))
