"""The page in headless Chromium: when something useful is painted, and how smoothly two hundred cards scroll."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.api_server import Server
from benchmarks.api_users import Ask, once

BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
_SCROLL = """async () => {
  const times = []; let last = performance.now(); const end = last + 4000;
  await new Promise(done => {
    const step = now => {
      times.push(now - last); last = now; window.scrollBy(0, 40);
      (document.scrollingElement || document.body).scrollTop += 0;
      if (now < end) requestAnimationFrame(step); else done();
    };
    requestAnimationFrame(step);
  });
  return times.slice(1);
}"""


def page_times(server: Server, repeats: int = 5) -> dict[str, Any]:
    """Return milliseconds to the first contentful paint of the search page, and of frames while 200 results are scrolled.

    Empty if there is no Chromium.
    """
    browser_path = next((p for p in BROWSERS if Path(p).exists()), None)
    if browser_path is None:
        return {}
    from playwright.sync_api import sync_playwright

    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    _, body = once(connection, Ask("/v1/windows?limit=1"))
    window = json.loads(body)["data"][0]["window_id"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        paints = []
        for _ in range(repeats):
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.goto(server.url, wait_until="networkidle")
            paints.append(
                page.evaluate("performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)[0] || null")
            )
            page.context.close()
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(f"{server.url}/search?window={window}&k=200", wait_until="networkidle")
        page.wait_for_selector(".search__results .card")
        cards = page.locator(".search__results .card").count()
        frames = page.evaluate(_SCROLL)
        browser.close()
    return {
        "first_contentful_paint_ms": round(float(np.median([p for p in paints if p is not None])), 1),
        "cards": cards,
        "frame_median_ms": round(float(np.median(frames)), 1),
        "frame_p95_ms": round(float(np.percentile(frames, 95)), 1),
    }
