"""What a running service holds: readers of the archive, lanes for work, and everything that routes call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, cast

from fastapi import Depends, Request

from search_api.boards import Board
from search_api.http.errors import Scrubber
from search_api.http.lanes import Lanes
from search_api.http.settings import ServiceSettings
from search_api.keys import KeyRing
from search_api.listening import Gallery
from search_api.locating import Locator
from search_api.query_log import QueryLog
from search_api.readers import Readers
from search_api.safe_sql import SqlPool
from search_api.uploads import ClipShelf, Sounds
from sonotheque.core.errors import SonothequeError, Unavailable
from store import Archive, read_config

_LOG = logging.getLogger("sonotheque.service")
P = ParamSpec("P")
R = TypeVar("R")


class Service:
    """One archive, served. Made before the server listens; :meth:`start` opens what takes time in the background.

    Attributes
    ----------
    settings : ServiceSettings
    config : StoreConfig
        Of the store.
    keys : KeyRing
    readers : Readers
    lanes : Lanes
    locator : Locator
        Of the recordings.
    sounds : Sounds
        Uploads: decoding and the model.
    clips : ClipShelf
    gallery : Gallery
        Snippets and pictures.
    board : Board
        Jobs.
    query_log : QueryLog
    sql : SqlPool or None
    draining : bool
        Whether the service is about to end.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        root, limits = settings.store, settings.limits
        self.config = read_config(root)
        state = Path(settings.state_folder)
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"the service cannot write to {state}: {error.strerror}; give it a folder of its own with --state DIR",
                kind="read_only",
            ) from error
        self.keys = KeyRing(state / "keys.json")
        self.readers = Readers(root)
        self.lanes = Lanes(limits.queue)
        self.locator = Locator.of(root, settings.recordings)
        self.sounds: Sounds = Sounds.open(
            root,
            self.config,
            weights=settings.weights,
            threads=settings.inference_threads,
            decoders=settings.decoders,
            decoded_s=limits.decoded_s,
            decode_s=limits.decode_s,
            queue=limits.inference_windows,
        )
        self.clips = ClipShelf(state / "clips")
        self.gallery = Gallery(self.locator, state / "pictures", clip_s=limits.clip_s)
        self.board = Board(root, state, settings.ingest_roots, slots=settings.job_slots, weights=settings.weights)
        self.query_log = QueryLog(state / "queries", share=settings.log_share)
        self.sql = SqlPool(root) if settings.sql else None
        self.draining = False
        self.trouble: str | None = None
        self._opening: threading.Thread | None = None

    def start(self) -> None:
        """Open the archive, load the model and look for jobs, in the background; ``/readyz`` tells when it is done."""
        self.sounds.start()
        self.board.start()
        if self.sql:
            self.sql.start()
        self._opening = threading.Thread(target=self._open, name="sonotheque-opening", daemon=True)
        self._opening.start()

    def close(self) -> None:
        """End what :meth:`start` began; jobs go on by themselves."""
        self.draining = True
        if self._opening:
            self._opening.join(timeout=30)
        self.board.close()
        self.sounds.close()
        if self.sql:
            self.sql.close()
        self.lanes.close()
        self.readers.close()

    def not_ready(self) -> list[str]:
        """Return why the service cannot answer everything now; empty when it can."""
        why = []
        if self.draining:
            why.append("the service is ending")
        if self.readers.state is None:
            why.append(
                f"the archive cannot be opened: {self.trouble}" if self.trouble else "the archive is being opened"
            )
        elif self.readers.trouble:
            why.append(self.readers.trouble)
        if not self.sounds.ready:
            why.append(self.sounds.trouble or "the model is being loaded")
        return why

    def scrubber(self) -> Scrubber:
        """Return what takes the server's folders out of messages."""
        folders = {root: "the recordings" for root, _ in self.locator.roots}
        folders |= dict.fromkeys(self.settings.ingest_roots.values(), "the recordings to embed")
        folders |= {self.settings.state_folder: "the service's folder", self.settings.store: "the archive"}
        return Scrubber(folders)

    async def run(self, lane: str, func: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        """Run a function in a lane; see :meth:`search_api.http.lanes.Lanes.run`."""
        return await self.lanes.run(lane, func, *args, **named)

    async def read(self, func: Callable[Concatenate[Archive, P], R], *args: P.args, **named: P.kwargs) -> R:
        """Run ``func(archive, ...)`` in the lane of questions, at the newest state."""
        return await self.lanes.run("read", self._with_archive, func, args, named)

    async def search(self, func: Callable[Concatenate[Archive, P], R], *args: P.args, **named: P.kwargs) -> R:
        """Run ``func(archive, ...)`` in the lane of searches, at the newest state."""
        return await self.lanes.run("search", self._with_archive, func, args, named)

    def _with_archive(self, func: Callable[..., R], args: tuple[Any, ...], named: dict[str, Any]) -> R:
        with self.readers.lease() as archive:
            return func(archive, *args, **named)

    def _open(self) -> None:
        while not self.draining:
            try:
                self.readers.start()
            except (SonothequeError, OSError) as error:  # nothing committed yet, say: it may come
                if self.trouble != str(error):
                    _LOG.warning("the archive cannot be opened: %s", error)
                self.trouble = str(error)
                time.sleep(1.0)
            else:
                self.trouble = None
                return


def get_service(request: Request) -> Service:
    """Return the service that a request was sent to."""
    return cast(Service, request.app.state.service)


ServiceDep = Annotated[Service, Depends(get_service)]
