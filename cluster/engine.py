"""Which engine and which precision a run embeds with: what was asked for, what the store holds, what this machine can do."""

from __future__ import annotations

from collections.abc import Callable

from cluster.options import REFERENCE, EmbedOptions
from cluster.payload import ModelChoice
from cluster.settle import SettledStore
from cluster.specs.placing import elsewhere
from embedder.choosing import choose, require_possible
from embedder.engines.base import AUTO
from embedder.models import require_weights
from sonotheque.core.errors import Conflict, Invalid, Unavailable
from sonotheque.core.model_spec import FULL_PRECISION


def require_engine(options: EmbedOptions, settled: SettledStore) -> None:
    """Look at weights, engine and precision before a plan is made and a job begun for them.

    On nodes elsewhere only the words are looked at: weights may lie there and not here.

    Raises
    ------
    NotFound, Invalid
        As :func:`embedder.models.require_weights` and :func:`embedder.choosing.require_possible`.
    """
    if not elsewhere(options):
        require_weights(settled.model, options.weights)
    engine = AUTO if options.engine == REFERENCE else options.engine
    require_possible(settled.model, options.weights, engine=engine, precision=options.precision)


def settle_engine(options: EmbedOptions, settled: SettledStore, tell: Callable[[str], None]) -> ModelChoice:
    """Return what every process of a run loads.

    A store keeps the precision it was made with; ``--mix-precision`` lets a run add vectors of another, which are then marked
    as such in their parts. On nodes elsewhere (``--scheduler``, or a cluster file) each node picks its own engine, and a new store is made at
    full precision, which any of them can do.

    Parameters
    ----------
    options : EmbedOptions
        With absolute paths.
    settled : SettledStore
    tell : callable
        Is told, in a sentence, what was chosen and why.

    Raises
    ------
    Conflict
        Kind ``model_conflict``: another precision than the store's was asked for, and not to mix.
    Invalid, Unavailable
        This machine, or the model, has no such engine or precision.
    """
    there = settled.config.model.precision if settled.config else None
    wanted = there if there and options.precision == AUTO else options.precision
    if there and wanted != there and not options.mix_precision:
        raise Conflict(
            f"{options.store} holds {there} vectors; --precision {wanted} was asked for. Leave --precision out to use the store's, "
            f"add --mix-precision to put {wanted} vectors beside the {there} ones, or use another --store",
            kind="model_conflict",
        )
    if options.engine == REFERENCE:
        return _choice(options, settled, None, FULL_PRECISION if wanted == AUTO else wanted, there)
    if elsewhere(options):
        precision = FULL_PRECISION if wanted == AUTO else wanted
        return _choice(options, settled, options.engine, precision, there)
    chosen = _chosen(options, settled, wanted, there, tell)
    return _choice(options, settled, *chosen, there)


def _chosen(
    options: EmbedOptions, settled: SettledStore, wanted: str, there: str | None, tell: Callable[[str], None]
) -> tuple[str | None, str]:
    """Return engine and precision for this machine."""

    def ask(precision: str) -> tuple[str | None, str]:
        found = choose(
            settled.model,
            options.weights,
            engine=options.engine,
            precision=precision,
            logits=settled.top_k > 0,
            threads=options.threads,
            tell=tell,
        )
        return found.engine, found.precision

    try:
        return ask(wanted)
    except (Invalid, Unavailable) as error:
        if not there or options.precision != AUTO or there == FULL_PRECISION:
            raise
        if options.mix_precision:
            return ask(AUTO)
        raise type(error)(
            f"{options.store} holds {there} vectors, which this machine cannot make: {error.message}. "
            f"Embed on a machine that can, or add --mix-precision to put other ones beside them",
            kind=error.kind,
        ) from error


def _choice(
    options: EmbedOptions, settled: SettledStore, engine: str | None, precision: str, there: str | None
) -> ModelChoice:
    stamped_as = there if there and there != precision else None
    return ModelChoice(
        settled.model, options.weights, options.threads, engine, precision, stamped_as, logits=settled.top_k > 0
    )
