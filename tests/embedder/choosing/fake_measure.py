"""``embedder.choosing.measure`` with engines that do what a JSON file says, in place of the weights.

The file maps ``openvino bf16`` to what that candidate does: ``noise`` added to the vectors (relative), ``spin_ms`` of processor time a
window, ``device``, ``precision`` that it really runs in, or ``fault``: exit, abort, hang, refuse, abort_later, nonfinite.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embedder.choosing import measure
from embedder.models import Embedded, Runtime, load_model
from sonotheque.core.errors import Invalid


class FakeEmbedder:
    def __init__(self, acts: dict[str, Any], precision: str) -> None:
        inner = load_model("placeholder")
        self.inner, self.acts = inner, acts
        self.spec = replace(inner.spec, precision=acts.get("precision", precision))
        self.classes, self.batch_size, self.note = inner.classes, 4, ""
        self.runtime = Runtime(engine="fake", device=acts.get("device", "CPU"), threads=1)

    def embed(self, frames: Any, *, logits: bool = True) -> Embedded:
        if self.acts.get("fault") == "abort_later" and len(frames) == self.batch_size:
            os.abort()
        end_s = time.process_time() + self.acts.get("spin_ms", 0.0) * len(frames) / 1000.0
        found = self.inner.embed(frames, logits=logits)
        while time.process_time() < end_s:
            pass
        noise = np.random.default_rng(3).standard_normal(found.embeddings.shape)
        noise *= np.sqrt((found.embeddings**2).mean(axis=1, keepdims=True)) * self.acts.get("noise", 0.0)
        vectors = (found.embeddings + noise).astype(np.float32)
        if self.acts.get("fault") == "nonfinite":
            vectors[:, 0] = np.nan
        return Embedded(vectors, found.logits)

    def scores(self, logits: Any) -> Any:
        return self.inner.scores(logits)


def load(asked: dict[str, Any]) -> FakeEmbedder:
    told = json.loads(Path(asked["weights"]).read_text(encoding="utf-8"))
    name = "reference" if asked["whole"] else f"{asked['engine']} {asked['precision']}"
    with Path(asked["weights"]).with_suffix(".log").open("a", encoding="utf-8") as log:
        log.write(f"{name} logits={asked['logits']} threads={asked['threads']}\n")
    acts = told.get(name, {})
    sys.stdout.write("a library that is fond of talking\n")
    match acts.get("fault"):
        case "exit":
            sys.stderr.write("Traceback\nRuntimeError: no such operator\n")
            sys.exit(3)
        case "abort":
            os.abort()
        case "hang":
            time.sleep(600)
        case "refuse":
            raise Invalid("the graph is not for this engine", kind="invalid_weights")
    return FakeEmbedder(acts, asked["precision"])


measure.load = load  # type: ignore[assignment]
if __name__ == "__main__":
    measure.main()
