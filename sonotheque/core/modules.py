"""This program in another process: what runs a module of ours, and an environment in which it is found."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_HOME = str(Path(__file__).parents[2])  # where the packages lie; also of a checkout that was never installed
_PATH = "PYTHONPATH"


def our_module(module: str, *words: str) -> list[str]:
    """Return the command that runs a module of ours; it needs the environment of :func:`with_home`.

    Parameters
    ----------
    module : str
        As ``python -m`` takes it.
    *words : str
        Its arguments.
    """
    # -P: a folder called `store` where the user stands must not be taken for our package.
    return [sys.executable, "-P", "-m", module, *words]


def with_home(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which our packages are found although ``-P`` leaves out the current folder.

    Parameters
    ----------
    environment : mapping
        Left as it is; what it says of ``PYTHONPATH`` comes after our own folder.
    """
    return {**environment, _PATH: os.pathsep.join(filter(None, (_HOME, environment.get(_PATH))))}
