"""The Python and curl of the documentation, against a real server."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sonotheque.client import Client
from sonotheque.core.errors import KINDS
from tests.search import kit
from tests.service.conftest import listening

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs" / "api.md", ROOT / "sonotheque" / "client" / "README.md")
URL = "http://127.0.0.1:8770"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def told(made, tmp_path_factory):
    """A server, and a folder with a call in it."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(made.store, folder / "store")
    kit.write(folder / "call.wav", kit.tone(703.0, 4.0, seed=99))
    with listening(kit.Made(made.recordings, str(folder / "store")), folder / "state", sql=True) as server:
        yield server, folder


@pytest.fixture(scope="module")
def judged(made, tmp_path_factory):
    """A server whose windows were all judged: a probe can be trained there."""
    folder = tmp_path_factory.mktemp("judged")
    shutil.copytree(made.store, folder / "store")
    with listening(kit.Made(made.recordings, str(folder / "store")), folder / "state") as server:
        with Client(server.url) as archive:
            rows = [
                {"window_id": w.window_id, "label": "owl", "judgement": "positive" if n % 3 == 0 else "negative"}
                for n, w in enumerate(archive.windows())
            ]
            assert archive.annotate(rows, annotator="Ann")["added"] == 18
        yield server, folder


def python() -> list:
    return [pytest.param(code, id=f"{page.name}-{i}") for page in PAGES for i, code in enumerate(blocks(page, "py"))]


@pytest.mark.parametrize("code", python())
def test_python(told, code):
    server, folder = told
    code = code.replace(URL, server.url).replace('"forest"', '"north"')
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_probes_of_the_page_are_trained_for_real(judged):
    """In the archive of the other blocks nothing was judged, so that there this one ends in its own error."""
    server, folder = judged
    (code,) = [block for block in blocks(PAGES[0], "py") if "probes.train" in block]
    code = code.replace(URL, server.url)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    events, metrics, *hits = re.split(r"^(?=\{'|0\.|1\.0)", done.stdout, flags=re.MULTILINE)
    assert "state" in events and "finished" in events
    assert "'map': " in metrics and "'in_use': 1" in metrics, metrics
    assert hits and all(re.match(r"[01]\.\d+ \w+/\w+\.wav \d", line) for line in hits), hits
    with Client(server.url) as archive:
        assert archive.probes.get("owl")["in_use"] == 1


def curls() -> list[list[str]]:
    return [
        shlex.split(line) for block in blocks(PAGES[0], "sh") for line in block.splitlines() if line.startswith("curl")
    ]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl(told):
    """Each line is understood: it is answered, or there is no such window, site or label in this small archive."""
    server, folder = told
    assert len(curls()) >= 12
    for words in curls():
        words = [w.replace(URL, server.url) for w in words]
        if "-o" in words:
            at = words.index("-o")
            del words[at : at + 2]
        command = ["curl", "-s", "-m", "30", "-w", "\n%{http_code}", *words[1:]]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        body, _, status = done.stdout.rpartition(b"\n")
        assert int(status) in (200, 201, 202, 206, 404, 422), (words, done.stdout[:300])
        if int(status) == 404:
            assert json.loads(body)["error"]["kind"] in KINDS
        if int(status) == 422:
            assert "batch" in " ".join(words) or b"judged" in body, (words, body[:300])


def test_every_route_is_told_of_and_every_kind_of_the_table_is_one(told):
    text = PAGES[0].read_text(encoding="utf-8")
    import httpx

    paths = httpx.get(f"{told[0].url}/openapi.json").json()["paths"]
    parts = {part for path in paths for part in path.split("/") if part and not part.startswith("{")}
    untold = {part for part in parts if part not in text} - {
        "healthz",
        "readyz",
        "metrics",
        "session",
        "queries",
        "sources",
    }
    assert not untold
    table = text.split("## Errors", 1)[1].split("## Keys", 1)[0]
    assert set(re.findall(r"`([a-z_]+)`", table)) - {"fields", "kind"} <= set(KINDS) | {"internal"}


def test_json_of_the_page_is_json():
    for block in blocks(PAGES[0], "json"):
        json.loads(block)
