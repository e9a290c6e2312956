"""Settings of all suites."""

from __future__ import annotations

import os

from hypothesis import settings

# `make test` tries the same examples every time, so that a change is judged by itself; `make test-slow` goes looking.
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("SONOTHEQUE_HYPOTHESIS", "same"))
