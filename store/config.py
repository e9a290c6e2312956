"""``sonotheque.json``: what a store holds, written once and replaced only by ``migrate``."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import dataclass, replace
from typing import Any

from sonotheque.core.errors import Conflict, Damaged, NotFound
from sonotheque.core.ids import digest_of
from sonotheque.core.model_spec import FULL_PRECISION, ModelSpec
from sonotheque.core.windows import WindowRule
from store import layout
from store.belonging import settle_state
from store.fsops import FileOps, ops_of, put_new, store_errors

FORMAT_VERSION = 2  # of stores made now; older ones are read and written as they are
DTYPES = ("float16", "float32")


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """The settings that every part of a store shares.

    Attributes
    ----------
    model : ModelSpec
    windows : WindowRule
    decode : dict
        ``channels``, ``block_s``, ``resampler``: what changes samples, and so belongs to the parts' identity.
    dtype : str
        ``float16`` or ``float32``.
    top_k : int
        Predictions kept a window; 0 for none.
    format_version : int
        The rules that the store follows; ``migrate`` raises it.
    made_as : int
        The version it was made as: part of the digest, and so of all part ids. It never changes.
    """

    model: ModelSpec
    windows: WindowRule
    decode: dict[str, Any]
    dtype: str = "float16"
    top_k: int = 10
    format_version: int = FORMAT_VERSION
    made_as: int = FORMAT_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``sonotheque.json``."""
        made_as = {"made_as": self.made_as} if self.format_version > 1 else {}
        return {"format_version": self.format_version, **made_as, **self._settings()}

    def _settings(self) -> dict[str, Any]:
        return {
            "model": self.model.to_json(),
            "windows": self.windows.to_json(),
            "decode": self.decode,
            "dtype": self.dtype,
            "top_k": self.top_k,
        }

    @property
    def digest(self) -> str:
        """Digest over the settings and the version the store was made as: part of each part's id."""
        return digest_of({"format_version": self.made_as, **self._settings()})

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StoreConfig:
        """Rebuild from :meth:`to_json`."""
        if value["dtype"] not in DTYPES:
            raise ValueError(f"dtype {value['dtype']!r} is none of {DTYPES}")
        version = value["format_version"]
        made_as = value["made_as"] if version > 1 else version
        if not 1 <= made_as <= version:
            raise ValueError(f"made_as {made_as!r} is not between 1 and format_version {version!r}")
        return cls(
            ModelSpec.from_json(value["model"]),
            WindowRule.from_json(value["windows"]),
            value["decode"],
            value["dtype"],
            value["top_k"],
            version,
            made_as,
        )


def temp_name(stem: str) -> str:
    """Return a name for ``_tmp/`` that no other process on any machine takes."""
    return f"{stem}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"


def read_config(root: str, ops: FileOps | None = None) -> StoreConfig:
    """Read a store's settings.

    Raises
    ------
    NotFound
        If the folder is not a store (kind ``no_store``).
    Damaged
        If ``sonotheque.json`` cannot be read, or is of a later format version.
    """
    ops = ops or ops_of(root)
    path = f"{root}/{layout.CONFIG}"
    try:
        value = json.loads(ops.read(path))
        version = value["format_version"]
        if version > FORMAT_VERSION:
            raise Damaged(
                f"{path} has format version {version}; this program reads versions up to {FORMAT_VERSION}. "
                "Install a newer sonotheque"
            )
        found = StoreConfig.from_json(value)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"{root} is not a store: it has no {layout.CONFIG}. `sonotheque embed RECORDINGS --store {root}` makes one",
            kind="no_store",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} cannot be read as a store's settings: {error!r}") from error
    settle_state(root, ops)
    return found


def create_config(root: str, config: StoreConfig, ops: FileOps | None = None) -> StoreConfig:
    """Make a store, or check that the one there has these settings.

    Raises
    ------
    Conflict
        If the folder holds a store of another model or of other settings; the message names both values.
    Unavailable
        If the folder cannot be written to.
    """
    ops = ops or ops_of(root)
    with store_errors(root):
        ops.makedirs(root)
        data = json.dumps(config.to_json(), indent=2).encode() + b"\n"
        made = put_new(ops, f"{root}/{layout.TMP}", temp_name("config"), f"{root}/{layout.CONFIG}", data)
    settle_state(root, ops)
    if made:
        return config
    found = read_config(root, ops)
    require_same(root, found, config)
    return found


def require_same(root: str, found: StoreConfig, wanted: StoreConfig) -> None:
    """Raise Conflict, naming both values, unless a store has the wanted settings."""
    if found.model != wanted.model:
        raise Conflict(
            f"{root} holds vectors of {_model_words(found.model)}; this run would add vectors of {_model_words(wanted.model)}. "
            f"{_hidden_difference(found.model, wanted.model)}"
            f"{_way_on(found.model, wanted.model)}",
            kind="model_conflict",
        )
    have, want = _flat(found), _flat(wanted)
    keys = [key for key in {**have, **want} if have.get(key) != want.get(key)]
    differing = [f"{key}: {have.get(key)} there, {want.get(key)} asked for" for key in keys]
    if differing:
        raise Conflict(
            f"{root} was made with other settings ({'; '.join(differing)}). Leave the option out to use the store's, or use another --store",
            kind="settings_conflict",
        )


def _model_words(model: ModelSpec) -> str:
    precision = "" if model.precision == FULL_PRECISION else f", {model.precision}"
    return f"{model.name} {model.version} (weights {model.weights_digest[:12]}, {model.dim}-d{precision})"


def _way_on(found: ModelSpec, wanted: ModelSpec) -> str:
    if replace(wanted, precision=found.precision) == found:
        return (
            f"The model is the same, its precision is not: leave --precision out to use the store's, or add --mix-precision to put "
            f"{wanted.precision} vectors beside the {found.precision} ones"
        )
    return f"Vectors of different models cannot be compared: use --model {found.name} with the same weights, or another --store"


def _hidden_difference(found: ModelSpec, wanted: ModelSpec) -> str:
    """Name what differs and is not among the words of :func:`_model_words`."""
    have, want = found.to_json(), wanted.to_json()
    keys = [
        key for key in have if have[key] != want.get(key) and key not in ("name", "version", "weights_digest", "dim")
    ]
    differing = [f"{key}: {have[key]} there, {want[key]} asked for" for key in keys]
    return f"They differ in {'; '.join(differing)}. " if differing else ""


def _flat(config: StoreConfig) -> dict[str, Any]:
    windows = config.windows
    return {
        "hop_s": windows.hop_samples / windows.sample_rate_hz,
        "valid_s_min": windows.valid_samples_min / windows.sample_rate_hz,
        "rate_factor": windows.rate_factor,
        "dtype": config.dtype,
        "top_k": config.top_k,
        **config.decode,
    }
