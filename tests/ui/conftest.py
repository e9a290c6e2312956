"""An archive with owls in it behind a real server, and a browser that looks at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedder.audio.synthesis import write_archive
from tests.cluster.support import run
from tests.search import kit
from tests.service.conftest import Live, listening

BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


@pytest.fixture(scope="session")
def owls(tmp_path_factory) -> kit.Made:
    """The demo's recordings, through BirdNET; nobody changes the store."""
    pytest.importorskip("ai_edge_litert")
    folder = tmp_path_factory.mktemp("owls")
    write_archive(folder / "recordings", duration_s=30.0)
    run(folder / "recordings", folder / "store", model="birdnet_v2.4", timezone="Europe/Berlin")
    return kit.Made(folder / "recordings", str(folder / "store"))


@pytest.fixture
def live(owls, tmp_path) -> Iterator[Live]:
    """A copy of the store behind a real server."""
    shutil.copytree(owls.store, tmp_path / "store")
    with listening(kit.Made(owls.recordings, str(tmp_path / "store")), tmp_path / "state") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The Chromium that the system has, without a window; for one module: Playwright keeps an event loop going in this thread."""
    path = next((p for p in BROWSERS if Path(p).exists()), None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, live) -> Iterator[Any]:
    """A page of the served archive; an error in its console or of its scripts fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=live.url, accept_downloads=True)
    found = context.new_page()
    faults: list[str] = []
    found.on("pageerror", lambda error: faults.append(f"error: {error}"))
    found.on(
        "console",
        lambda said: (
            faults.append(said.text) if said.type == "error" and "Failed to load resource" not in said.text else None
        ),
    )
    found.set_default_timeout(20_000)
    yield found
    context.close()
    assert not faults, faults
