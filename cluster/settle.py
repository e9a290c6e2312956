"""Settles a run's options against the store it writes to: what is asked for, what is there, what the defaults are."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cluster.job import JobFolder, job_numbers
from cluster.options import EmbedOptions
from embedder.audio import DECODE_BLOCK_S, QUALITY, open_header
from embedder.models import DEFAULT_MODEL, model_info
from embedder.recorders import Describer, SiteRule, load_deployments, load_times
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.places import is_object
from sonotheque.core.recording import printable_path
from sonotheque.core.windows import WindowRule
from store import Ledger, StoreConfig, load_ledger, read_config, require_same

DEFAULT_TOP_K = 10
_Table = TypeVar("_Table")


@dataclass(frozen=True, slots=True)
class SettledStore:
    """Options and store, agreed.

    Attributes
    ----------
    options : EmbedOptions
    config : StoreConfig or None
        Of the store, if it exists.
    ledger : Ledger
    """

    options: EmbedOptions
    config: StoreConfig | None
    ledger: Ledger

    @property
    def model(self) -> str:
        """Name of the model to use."""
        return _model(self.options, self.config)

    @property
    def top_k(self) -> int:
        """Predictions a window."""
        asked = self.options.top_k
        return asked if asked is not None else self.config.top_k if self.config else DEFAULT_TOP_K

    @property
    def dtype(self) -> str:
        """Type of the vectors' elements."""
        return self.options.dtype or (self.config.dtype if self.config else "float16")

    def config_for(self, spec: ModelSpec) -> StoreConfig:
        """Return the settings this run wants, for the model that was really loaded.

        Raises
        ------
        Conflict
            If the store was made with another model or other settings.
        Invalid
            If the hop or the rate factor cannot be.
        """
        there = self.config
        hop_s, factor = self.options.hop_s, self.options.rate_factor
        if there and hop_s is None:
            hop_s = there.windows.hop_samples / there.windows.sample_rate_hz
        if factor is None:
            factor = there.windows.rate_factor if there else 1.0
        channels = self.options.channels or (there.decode["channels"] if there else "mean")
        wanted = StoreConfig(
            spec,
            WindowRule.for_model(spec, hop_s=hop_s, rate_factor=factor),
            {"channels": channels, "block_s": DECODE_BLOCK_S, "resampler": f"soxr {QUALITY}"},
            self.dtype,
            min(self.top_k, spec.n_classes),
        )
        if there:
            require_same("the store", there, wanted)
        return wanted


def require_store_name(store: str) -> None:
    """Raise Invalid if no store can be made under an absolute path."""
    if printable_path(store) != store:
        raise Invalid(
            f"--store {printable_path(store)}: the name is not valid UTF-8, and Parquet readers cannot open it; choose another"
        )
    if not is_object(store) and Path(store).exists() and not Path(store).is_dir():
        raise Invalid(f"--store {store} is not a folder: give a folder, or the name of one to be made")


def _model(options: EmbedOptions, config: StoreConfig | None) -> str:
    return options.model or (config.model.name if config else DEFAULT_MODEL)


def model_of(options: EmbedOptions) -> str:
    """Return the name of the model a run will use."""
    return _model(options, _config_of(options.store))


def _config_of(store: str) -> StoreConfig | None:
    try:
        return read_config(store)
    except NotFound:
        return None


def settle_store(options: EmbedOptions) -> SettledStore:
    """Read the store, if there is one, and check the options that can be checked without loading a model.

    Raises
    ------
    NotFound
        If the model's name is unknown.
    Conflict
        If the store is another model's, or was made with other settings.
    Damaged
        If a part cannot be read: what it held would be embedded again under a name that is taken.
    """
    config = _config_of(options.store)
    with _no_collecting():
        settled = SettledStore(options, config, load_ledger(options.store) if config else Ledger({}, {}, {}))
    model_info(settled.model)
    if config and settled.model != config.model.name:
        raise Conflict(
            f"{options.store} holds vectors of {config.model.name}; --model {settled.model} was asked for. Vectors of different models "
            f"cannot be compared: leave --model out, or use another --store",
            kind="model_conflict",
        )
    settle_window_rule(settled)
    if settled.ledger.damaged:
        path, why = next(iter(settled.ledger.damaged.items()))
        raise Damaged(
            f"{len(settled.ledger.damaged)} part file(s) of {options.store} cannot be read, the first: {path}: {why}. Move it out of the "
            f"store ({_move(options.store, path)}) and run again: its recordings will be "
            f"embedded anew. `sonotheque verify --store {options.store}` lists all"
        )
    return settled


def _move(store: str, path: str) -> str:
    if is_object(store):
        return f"{store}/{path}, with the provider's own tools"
    return f"mv '{Path(store) / path}' '{Path(store) / path}.damaged'"


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Let Python not look for garbage meanwhile: of 10^6 entries it looks at all, again and again, for a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def settle_window_rule(settled: SettledStore) -> tuple[WindowRule, int]:
    """Return the window rule and the vectors' length as far as they are known without loading the model."""
    there = settled.config
    if there:
        config = settled.config_for(there.model)
        return config.windows, config.model.dim
    info = model_info(settled.model)
    spec = ModelSpec(info.name, "", "", info.sample_rate_hz, info.window_samples, info.dim, info.n_classes, "", "")
    config = settled.config_for(spec)
    return config.windows, config.model.dim


def describer_of(options: EmbedOptions) -> Describer:
    """Return what finds times and sites, as the options say."""
    rule = SiteRule("fixed", options.site) if options.site else SiteRule.parse(options.site_from)
    return Describer(
        site_rule=rule,
        zone=options.timezone,
        clock_zone=options.clock_timezone,
        pattern=options.time_pattern,
        deployments=_table("--deployments", options.deployments, load_deployments),
        times=_table("--times", options.times, load_times),
        opened=open_header,
    )


def _table(option: str, path: str | None, load: Callable[[str], _Table]) -> _Table | None:
    if not path:
        return None
    try:
        return load(path)
    except OSError as error:
        raise NotFound(f"{option} {path}: {error.strerror}. Check the path to the table") from error


def known_roots(store: str) -> list[tuple[str, str]]:
    """Return the (root, prefix) of every earlier job of a store that came as far as a plan."""
    found = []
    for number in job_numbers(store):
        job = JobFolder(store, number)
        told = job.read_json("job.json")
        if "root" in told and job.has_plan():
            found.append((str(told["root"]), str(told.get("prefix", ""))))
    return found


def notes_of(options: EmbedOptions, stored: int) -> list[str]:
    """Say what this command asks for and will not get: stored sites and times are not changed by a later run."""
    told = [JobFolder(options.store, n).read_json("job.json") for n in reversed(job_numbers(options.store))]
    before = next((EmbedOptions.from_json(t["options"]) for t in told if "options" in t), None)
    if before is None or not stored:
        return []
    was, now = before.metadata_settings(), options.absolute().metadata_settings()
    changed = [f"--{name.replace('_', '-')} was {was[name]}, is {now[name]}" for name in was if was[name] != now[name]]
    if not changed:
        return []
    return [
        f"{stored:,} stored files keep the sites and times they were stored with ({'; '.join(changed)}): "
        "only new files get the new ones. To change all, embed into a new --store"
    ]
