"""The docs say what the program does: commands exist with their options, Python examples run, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import soundfile as sf

from sonotheque.core.outcome import Status

ROOT = Path(__file__).resolve().parents[2]
SONOTHEQUE = str(Path(sys.executable).parent / "sonotheque")
PAGES = sorted(p for p in ROOT.rglob("*.md") if not {".venv", ".bench", ".pytest_cache"} & set(p.parts))
PACKAGES = (
    "sonotheque",
    "embedder",
    "embedder/audio",
    "embedder/models",
    "embedder/recorders",
    "store",
    "store/catalog",
    "store/index",
    "store/probes",
    "store/scores",
    "probes",
    "cluster",
    "search_api",
    "search_api/probes",
    "benchmarks",
)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands():
    for page in PAGES:
        for block in blocks(page, "(?:sh|console)"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ ").split("  #")[0], comments=True)
                if words and Path(words[0]).name == "sonotheque":
                    yield pytest.param(words[1:], id=f"{page.relative_to(ROOT)}: {' '.join(words)[:70]}")


@cache
def help_of(*verb):
    done = subprocess.run([SONOTHEQUE, *verb, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"no verb {' '.join(verb)}"
    return done.stdout


@pytest.mark.parametrize("words", list(commands()))
def test_commands_in_the_docs_exist(words):
    verb = [words[0]]
    if (
        verb[0] in ("models", "bench", "annotate", "metadata", "import", "index", "probe")
        and len(words) > 1
        and not words[1].startswith("-")
    ):
        verb.append(words[1])
    text = help_of(*[v for v in verb if not v.startswith("-")])
    for word in words:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text), f"{word} is no option of {verb}"


def test_the_docs_hold_commands_at_all():
    assert len(list(commands())) >= 3


def python_blocks():
    for page in PAGES:
        for i, block in enumerate(blocks(page, "python")):
            yield pytest.param(block, id=f"{page.relative_to(ROOT)}-{i}")


@pytest.mark.parametrize("code", list(python_blocks()))
def test_python_examples_run(code, demo_run):
    """Each runs as written, in a folder that holds the demo, a store, recordings, and one recording called call.wav."""
    folder = demo_run.root.parent
    if not (folder / "call.wav").exists():
        sound, rate = sf.read(demo_run.root / "recordings" / "forest" / "20250510_000000.flac")
        sf.write(folder / "call.wav", sound[: 6 * rate], rate)
        (folder / "deployments.csv").write_text("deploymentID,site,start,end\nwood,Wood,2019-05-01,2019-06-01\n")
        (folder / "store").symlink_to(demo_run.root / "store")
        (folder / "recordings").symlink_to(demo_run.root / "recordings")
    env = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_what_it_is(package):
    text = (ROOT / package / "README.md").read_text(encoding="utf-8")
    assert "nvariant" in text or "must not know" in text.lower() or package == "benchmarks"
    assert 10 <= len(text.splitlines()) <= 90


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_status_is_explained_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [s for s in Status if f"`{s}`" not in text]
    assert not missing


def test_the_readme_s_numbers_are_those_of_the_results():
    """Each number in the table of section "Numbers" stands in the results file as well."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Numbers", 1)[1].split("\n## ", 1)[0]
    folder = ROOT / "benchmarks" / "results"
    birdnet, perch, engines = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("embed-birdnet_v2.4", "embed-perch_v2", "engines")
    )
    values = [(birdnet["bytes_per_window_1536_float16"], "{:,.0f}"), (birdnet["memory_long_file"]["worker_mb"], "{:d}")]
    for m in (birdnet["median"], perch["median"]):
        values += [(m[f"{name}_{n}"], "{:.0f}") for name in ("end_to_end", "bare", "steady") for n in (1, 2)]
        values += [(m["steady_efficiency_2"], "{:.2f}")]
    values += [(perch["other_output"]["median"][f"steady_{n}"], "{:.0f}") for n in (1, 2)]
    values += [
        (way[output]["ms_per_window"], form)
        for model, output, form in (
            ("perch_v2", "vectors", "{:.1f}"),
            ("perch_v2", "with_labels", "{:.0f}"),
            ("birdnet_v2.4", "vectors", "{:.1f}"),
        )
        for way in engines["models"][model]["ways"]
        if (way["engine"], way["precision"]) in {("onnx", "fp32"), ("litert", "fp32"), ("openvino", "bf16")}
        and output in way
    ]
    for value, form in values:
        assert form.format(value) in section, f"{form.format(value)} is in the results and not in the README"
