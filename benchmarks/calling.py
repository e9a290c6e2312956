"""Calls a benchmark by its module's name, with those of the settings that it knows."""

from __future__ import annotations

import importlib.util
import inspect
from types import ModuleType
from typing import Any


def module(name: str) -> ModuleType:
    """Return ``benchmarks.NAME``, or the module of a name with dots."""
    return importlib.import_module(name if "." in name else f"benchmarks.{name}")


def is_there(name: str) -> bool:
    """Return whether there is such a benchmark; it is not imported."""
    return importlib.util.find_spec(name if "." in name else f"benchmarks.{name}") is not None


def known(name: str, settings: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that the benchmark's ``run`` takes, and the names of those that it does not know and that say something.

    A setting that is unset (``None`` or ``False``) says nothing, so that leaving it out changes nothing; ``None`` leaves the default.
    """
    parameters = inspect.signature(module(name).run).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return dict(settings), []
    given = {
        key: value for key, value in settings.items() if key in parameters and not _is_left(value, parameters[key])
    }
    left = [key for key, value in settings.items() if key not in parameters and value not in (None, False)]
    return given, [key for key in left if key != "quiet"]


def _is_left(value: Any, parameter: inspect.Parameter) -> bool:
    return value is None and parameter.default is not inspect.Parameter.empty
