"""The demo's store, for the docs' examples."""

from tests.demo.conftest import demo_run

__all__ = ["demo_run"]
