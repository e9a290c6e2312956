"""Which model made the vectors of a perch-hoplite database: from its metadata, or from what the user says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cluster.imports.options import HOPLITE
from cluster.imports.source import UNKNOWN_DIGEST
from embedder.models import MODELS, model_info
from sonotheque.core.errors import Invalid
from sonotheque.core.model_spec import ModelSpec

ANALYZER_KEY: Final = "birdnet_analyzer_settings"  # of databases that BirdNET-Analyzer writes
_ANALYZER_BAND: Final = (0, 15_000)
_PERCH_V1_PATH, _PERCH_V2_PATH, _SURFPERCH_PATH = "bird-vocalization-classifier", "perch_v2", "surfperch"


@dataclass(frozen=True, slots=True)
class HopliteModel:
    """What the vectors are.

    Attributes
    ----------
    spec : ModelSpec
    ours : bool
        Whether this program can run the model itself.
    """

    spec: ModelSpec
    ours: bool


def model_of(metadata: dict[str, Any], dim: int, asked: str | None) -> HopliteModel:
    """Return the model of a database.

    Parameters
    ----------
    metadata : dict
        ``hoplite_metadata``, its values parsed.
    dim : int
        Length of the vectors in the index.
    asked : str, optional
        ``--model``.

    Raises
    ------
    NotFound
        If no model is named as asked.
    Invalid
        If the model is not told, or the vectors are not its embeddings.
    """
    config = _object(metadata.get("model_config"))
    inner = _object(config.get("model_config"))
    if config.get("logits_key"):
        raise Invalid(
            f"the database holds logits ({config['logits_key']}) in place of embeddings: they cannot be compared with anything that "
            "this program makes, and are not imported"
        )
    words = " ".join([*_release(config, inner), *_analyzer(metadata)])
    version = f"imported from perch-{HOPLITE} ({words})" if words else f"imported from perch-{HOPLITE}"
    name = asked or _known(config, inner, metadata)
    if name is None:
        return HopliteModel(_foreign(config, inner, dim, version), False)
    info = model_info(name)
    if dim != info.dim:
        raise Invalid(
            f"the database holds {dim:,}-d vectors; {info.name} has {info.dim:,}. Say with --model which model made them: "
            f"{', '.join(f'{m.name} ({m.dim:,}-d)' for m in MODELS.values())}"
        )
    spec = ModelSpec(
        info.name,
        version,
        UNKNOWN_DIGEST,
        info.sample_rate_hz,
        info.window_samples,
        dim,
        info.n_classes,
        UNKNOWN_DIGEST,
        "none: no predictions",
    )
    return HopliteModel(spec, True)


def _known(config: dict[str, Any], inner: dict[str, Any], metadata: dict[str, Any]) -> str | None:
    key = str(config.get("model_key", "")).lower()
    path = _path(inner).lower()
    if key == "birdnet" and ("v2.4" in path or inner.get("class_list_name") == "birdnet_v2_4"):
        return "birdnet_v2.4"
    if ANALYZER_KEY in metadata and not config:
        return "birdnet_v2.4"
    if _SURFPERCH_PATH in key or _SURFPERCH_PATH in path:
        return None
    if key.startswith("perch_v2") or _PERCH_V2_PATH in path:
        return "perch_v2"
    if key == "perch_8" or _PERCH_V1_PATH in path:
        return "perch_v1"
    return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _path(inner: dict[str, Any]) -> str:
    return str(inner.get("tfhub_path") or inner.get("model_path") or inner.get("model_url") or "")


def _release(config: dict[str, Any], inner: dict[str, Any]) -> list[str]:
    """Return which weights the metadata names: two releases are two models."""
    words = [_path(inner).rpartition("/")[2] or str(config.get("model_key", "")), str(inner.get("tfhub_version") or "")]
    return [word for word in words if word]


def _analyzer(metadata: dict[str, Any]) -> list[str]:
    settings = _object(metadata.get(ANALYZER_KEY))
    if not settings:
        return []
    if float(settings.get("AUDIO_SPEED", 1.0)) != 1.0:
        raise Invalid(
            f"BirdNET-Analyzer made this database with audio speed {settings['AUDIO_SPEED']}: whether its offsets count seconds of the "
            "recording or of what was played is not recorded, and they are not guessed. Embed the recordings with --rate-factor"
        )
    band = (int(settings.get("BANDPASS_FMIN", 0)), int(settings.get("BANDPASS_FMAX", 15_000)))
    return ["BirdNET-Analyzer"] if band == _ANALYZER_BAND else ["BirdNET-Analyzer", f"{band[0]}-{band[1]} Hz"]


def _foreign(config: dict[str, Any], inner: dict[str, Any], dim: int, version: str) -> ModelSpec:
    """Return the spec of a model that this program does not run: its windows are known, so its vectors can be searched."""
    key = str(config.get("model_key", ""))
    rate, window_s = inner.get("sample_rate"), inner.get("window_size_s")
    if not key or not isinstance(rate, int | float) or not isinstance(window_s, int | float) or not (rate and window_s):
        raise Invalid(
            f"the database does not say which model made its {dim:,}-d vectors (model_config: {key or 'none'}): say so with --model, one of "
            f"{', '.join(f'{m.name} ({m.dim:,}-d)' for m in MODELS.values())}"
        )
    name = f"hoplite-{_SURFPERCH_PATH if _SURFPERCH_PATH in _path(inner).lower() else key}"
    return ModelSpec(
        name,
        version,
        UNKNOWN_DIGEST,
        round(rate),
        round(rate * window_s),
        dim,
        0,
        UNKNOWN_DIGEST,
        "none: no predictions",
    )
