"""What the verbs of ``sonotheque bench`` share: words of their options, and calling a benchmark of the source checkout."""

from __future__ import annotations

from typing import Any

PAIRS = "How often each comparison is repeated; medians are reported."
OUT = "Write the results here [default: benchmarks/results/]."
QUICK = "A short run, to see that it works; its figures mean little."
JSON = "Print one JSON document."


def measured(module: str, as_json: bool, **settings: Any) -> int:
    """Run ``benchmarks.MODULE`` with those of the settings that it knows, and print what it found.

    Parameters
    ----------
    module : str
        The module's name in ``benchmarks``.
    as_json : bool
    settings
        For its ``run``. One that it does not know is told on stderr, and is not an error: it changes nothing.

    Raises
    ------
    NotFound
        If there are no benchmarks: in an installed package.
    """
    from sonotheque.cli.output import document, say

    result, words = found(module, **settings)
    if as_json:
        document(result)
    else:
        say(words(result))
    return 0


def found(module: str, **settings: Any) -> tuple[dict[str, Any], Any]:
    """Return the result of a benchmark, and its function that puts results into words."""
    from sonotheque.cli.output import tell

    measuring = benchmark(module)
    given, unknown = benchmark("calling").known(module, settings)
    for name in unknown:
        tell(f"note: this benchmark has no setting {name}; left out")
    return measuring.run(**given), measuring.text


def benchmark(module: str) -> Any:
    """Return a module of ``benchmarks``, which is part of the source checkout and not installed.

    Raises
    ------
    NotFound
        If it is not there.
    """
    import importlib
    import sys

    from sonotheque.core.errors import NotFound

    checkout = _checkout()
    if not (checkout / "benchmarks").is_dir():
        raise NotFound("the benchmarks are not part of the installed package: run this in a checkout of the source")
    if not (checkout / "benchmarks" / f"{module}.py").exists():
        raise NotFound(f"this checkout has no benchmark benchmarks/{module}.py")
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return importlib.import_module(f"benchmarks.{module}")


def _checkout() -> Any:
    from pathlib import Path

    import sonotheque

    return Path(sonotheque.__file__).parents[1]
