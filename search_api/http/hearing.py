"""What routes do with a sound once it has arrived: heard, and told what is singing in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_api.http.service import Service
from search_api.uploads import Heard
from search_api.uploads.identifying import identified, predictions_of


async def hear_clip(service: Service, clip_id: str, from_s: float | None, to_s: float | None) -> Heard:
    """Return a kept clip as vectors; raises NotFound if it is not kept, and as :meth:`search_api.uploads.Sounds.hear`."""
    clip = await service.run("decode", service.clips.get, clip_id)
    if (known := service.sounds.recall(clip_id, clip.name, from_s, to_s)) is not None:
        return known
    data = await service.run("decode", service.clips.read, clip_id)
    return await service.sounds.hear(data, clip.name, from_s, to_s)


async def singing_in(
    service: Service, heard: Heard, probes: Sequence[str], top_k: int
) -> tuple[dict[str, Any], list[str]]:
    """Return what model and probes say of a sound that was heard, and notes on the probes."""
    known, notes = await service.run("read", service.sounds.probes.in_use, probes)
    predictions = predictions_of(heard.logits, service.sounds.classes, service.sounds.scores, top_k)
    found = await service.run("read", identified, heard.windows, heard.embeddings, predictions, known)
    return found, notes


def times_of(heard: Heard) -> dict[str, float]:
    """Return where the milliseconds went until a sound was heard."""
    return {"decode": round(heard.decode_ms, 3), "embed": round(heard.embed_ms, 3)}
