"""Settings of all suites."""

from __future__ import annotations

import os

from hypothesis import settings

# `make test` tries the same examples every time, so that a change is judged by itself; `make test-slow` goes looking.
# No test asserts a time: machines are shared, and tests run beside each other.
# What is fastest here may change from run to run; tests that are about the choice ask for it by name.
os.environ.setdefault("SONOTHEQUE_ENGINE", "reference")
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("SONOTHEQUE_HYPOTHESIS", "same"))
