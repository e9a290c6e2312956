"""Sounds in, vectors out: what a service does with an upload before anything is searched."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from dataclasses import replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from embedder.choosing import load_like
from embedder.models import Embedded, Embedder
from search_api.clip_queries import compare_models, largest_kept, query_of_clip, refusal
from search_api.queries import Query
from search_api.uploads.batching import Batcher
from search_api.uploads.decoding import DecodePool, printable
from search_api.uploads.heard import Heard, Heardbook
from search_api.uploads.probing import ProbeCache
from sonotheque.core.errors import SonothequeError
from sonotheque.core.outcome import DecodeSummary, Status
from store import StoreConfig

_THREADS_MAX: Final = 4


class Sounds:
    """Decoding processes and the store's model, shared by all requests.

    Parameters
    ----------
    root : str
        The store.
    config : StoreConfig
    pool : DecodePool
    batcher : Batcher

    Attributes
    ----------
    probes : ProbeCache
        Detectors of the store, which say something of what is heard.

    Notes
    -----
    What was heard last is kept, up to 64 MB: a sound that is searched for again, with another filter, is not embedded again.
    """

    def __init__(self, root: str, config: StoreConfig, pool: DecodePool, batcher: Batcher) -> None:
        self.root, self.config = root, config
        self.pool, self.batcher = pool, batcher
        self.probes = ProbeCache(root)
        self._starting: threading.Thread | None = None
        self._started = False
        self._pool_trouble: str | None = None
        self._known = Heardbook()

    @classmethod
    def open(
        cls,
        root: str,
        config: StoreConfig,
        *,
        weights: str | None = None,
        threads: int = 0,
        decoders: int = 2,
        decoded_s: float = 600.0,
        decode_s: float = 20.0,
        queue: int = 512,
    ) -> Self:
        """Return the sounds of a store; nothing is started yet.

        Parameters
        ----------
        root : str
        config : StoreConfig
        weights : str, optional
            Local copy of the model's weights.
        threads : int
            That run the model, each with a copy of its own; 0: one a core, at most 4. Perch has one copy that uses so many cores.
        decoders : int
            Processes that decode.
        decoded_s, decode_s : float
            Seconds of sound that an upload may hold, and that decoding it may take.
        queue : int
            Windows that may wait for the model.
        """
        threads = threads or min(_THREADS_MAX, _cores())
        name = config.model.name
        # Measured with BirdNET: a second interpreter doubles what is done, a second thread of one does nothing.
        copies, each = (1, threads) if name.startswith("perch") else (threads, 1)

        def load() -> Embedder:
            model = load_like(config.model, weights=weights, threads=each)
            compare_models(model.spec, config.model, root)
            blank = np.zeros((1, model.spec.window_samples), np.float32)
            model.embed(blank, logits=True)  # engines prepare in their first call
            return model

        pool = DecodePool(config, processes=decoders, decoded_s=decoded_s, deadline_s=decode_s)
        return cls(root, config, pool, Batcher(load, threads=copies, queue=queue))

    def start(self) -> None:
        """Start the processes and load the model, in the background."""
        self.pool.start()
        self.batcher.start()
        self._starting = threading.Thread(target=self._warm, name="sonotheque-decoders", daemon=True)
        self._starting.start()

    def close(self) -> None:
        """End both; what waits is refused."""
        self.pool.close()
        self.batcher.close()
        if self._starting:
            self._starting.join(timeout=10)

    @property
    def ready(self) -> bool:
        """Whether uploads can be decoded and embedded."""
        return self._started and self.batcher.ready

    @property
    def trouble(self) -> str | None:
        """Why they never will be; None if they are, or it is still starting."""
        return self._pool_trouble or self.batcher.trouble

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's classes in logit order; raises Unavailable before it is loaded."""
        return self._model().classes

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the model's scores in [0, 1] of logits, float32 of the same shape."""
        return self._model().scores(logits)

    def recall(
        self, digest: str, name: str = "the upload", from_s: float | None = None, to_s: float | None = None
    ) -> Heard | None:
        """Return a sound that was heard before, known by the first 32 digits of its SHA-256 (a clip's id); None if it is not known."""
        return self._known.get((digest, from_s, to_s), printable(name))

    async def hear(
        self, data: bytes, name: str = "the upload", from_s: float | None = None, to_s: float | None = None
    ) -> Heard:
        """Return a sound as vectors and logits; raises as :meth:`DecodePool.decode` and :meth:`Batcher.embed`."""
        name = printable(name)
        digest = await _digest(data)
        if (known := self.recall(digest, name, from_s, to_s)) is not None:
            return known
        self._model()  # nobody's upload is decoded in vain
        began = time.perf_counter()
        decoded = await self.pool.decode(data, name, from_s, to_s)
        between = time.perf_counter()
        embedded = await self.batcher.embed(decoded.frames, logits=True)
        heard = self._kept(
            Heard(
                name,
                decoded.windows,
                embedded.embeddings,
                embedded.logits,
                decoded.duration_s,
                decoded.sample_rate_hz,
                decoded.channels,
                decoded.ranged is not None,
                decoded.notes,
                decode_ms=1000 * (between - began),
                embed_ms=1000 * (time.perf_counter() - between),
            ),
            decoded.summary,
        )
        self._known.put((digest, from_s, to_s), heard)
        return heard

    async def query(
        self, data: bytes, name: str = "the upload", from_s: float | None = None, to_s: float | None = None
    ) -> Query:
        """Return a sound as what is searched for: the vectors of :func:`search_api.clip_queries.clip_query`, to the bit."""
        return self.query_of(await self.hear(data, name, from_s, to_s))

    def query_of(self, heard: Heard) -> Query:
        """Return a sound that was heard as what is searched for."""
        model = self._model()
        notes = (*compare_models(model.spec, self.config.model, self.root), *heard.notes, *filter(None, [model.note]))
        return query_of_clip(
            self.config, heard.name, heard.embeddings, heard.windows, path=None, ranged=heard.ranged, notes=notes
        )

    async def embed(self, frames: NDArray[np.float32], *, logits: bool = True) -> Embedded:
        """Return what the model says of windows; see :meth:`Batcher.embed`."""
        return await self.batcher.embed(frames, logits=logits)

    def _model(self) -> Embedder:
        return self.batcher.require_model()

    def _warm(self) -> None:
        try:
            self.pool.wait_ready()
            self._started = True
        except SonothequeError as error:
            self._pool_trouble = error.message

    def _kept(self, heard: Heard, summary: DecodeSummary) -> Heard:
        """Leave out windows whose vectors the store could not hold, as embedding a recording does."""
        values = heard.embeddings
        fits = np.isfinite(values) & (np.abs(values) <= largest_kept(self.config))
        keep = np.asarray([bool(row.all()) for row in fits], np.bool_)
        if keep.all():
            return heard
        text = "the model gave values that are not finite, or too large for the store's dtype"
        if not keep.any():
            raise refusal(heard.name, self.config, replace(summary, status=Status.MODEL_ERROR, reason=text))
        return replace(
            heard,
            windows=tuple(window for window, kept in zip(heard.windows, keep, strict=True) if kept),
            embeddings=values[keep],
            logits=None if heard.logits is None else heard.logits[keep],
            notes=(*heard.notes, f"{heard.name}: {int((~keep).sum())} of {len(keep)} windows left out: {text}"),
        )


async def _digest(data: bytes) -> str:
    if len(data) < 1 << 20:  # a millisecond or less
        return hashlib.sha256(data).hexdigest()[:32]
    return (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()[:32]


def _cores() -> int:
    from cluster.options import cores

    return cores()


__all__ = ["Heard", "Sounds"]
