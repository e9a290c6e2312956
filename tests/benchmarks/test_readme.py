"""The page of results is made of the results: of none, of those there are, of shapes it does not know; and the one here is up to date."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import readme
from benchmarks.drawing import PLOTS
from benchmarks.envelope import RESULTS, read, verb
from benchmarks.headlines import headlines
from sonotheque.core.errors import NotFound

HERE = Path(readme.__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    readme.run(folder=str(folder))
    return folder


def test_the_pages_here_are_what_the_results_give() -> None:
    told = readme.run(check=True)
    assert told["changed"] == [], "run `sonotheque bench readme`"
    assert told["unread"] == []


def test_each_result_stands_on_the_page_with_where_it_comes_from(made: Path) -> None:
    page = (made / "README.md").read_text(encoding="utf-8")
    tables = (made / "TABLES.md").read_text(encoding="utf-8")
    for path in RESULTS.glob("*.json"):
        result = read(path)
        row = next(line for line in page.splitlines() if f"(results/{path.name})" in line)
        assert result["command"] in row
        assert result["commit"] in row
        assert result["machine"]["cpu"] in row
        assert result["data"][:40] in row
        assert f"## {path.stem}\n" in tables
    assert 10 <= len(page.splitlines()) <= 90
    assert max(map(len, page.splitlines())) < 1500


def test_plots_are_pictures_on_white_and_stand_on_the_page(made: Path) -> None:
    page = (made / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[.+\]\(plots/(.+)\.svg\)", page)
    assert sorted(shown) == sorted(p.stem for p in RESULTS.glob("*.json") if verb(read(p)) in PLOTS)
    for stem in shown:
        path = made / "plots" / f"{stem}.svg"
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg")
        words = path.read_text(encoding="utf-8")
        assert "fill: #ffffff" in words
        assert read(RESULTS / f"{stem}.json")["commit"] in words
        assert path.stat().st_size < 100_000


def test_the_same_results_give_the_same_files(made: Path, tmp_path: Path) -> None:
    told = readme.run(folder=str(tmp_path))
    assert told["changed"] == ["README.md", "TABLES.md"]
    for path in made.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(made)).read_bytes(), path.name
    assert readme.run(folder=str(tmp_path))["changed"] == []
    assert "are what the results give" in readme.text(readme.run(folder=str(tmp_path), check=True))


def test_without_results_it_lists_the_commands(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    told = readme.run(results=str(tmp_path / "results"), folder=str(tmp_path))
    assert (told["results"], told["plots"]) == ([], [])
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "`sonotheque bench embed`" in page.split("Not measured yet: ")[1]
    with pytest.raises(NotFound):
        readme.run(results=str(tmp_path / "nowhere"), folder=str(tmp_path))


def test_results_of_unknown_or_older_shapes_are_told_by_their_figures(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    odd: dict[str, dict[str, Any]] = {
        "new": {"what": "sonotheque bench whistles", "cpu_ms": 4.25, "data": "a | b"},
        "old-embed": {"what": "sonotheque bench embed", "speed": {"x_realtime": 77.0}},
        "own": {"what": "sonotheque bench hums", "headline": ["it hums"], "wall_s": 1.0},
        "suite": {
            "what": "sonotheque bench",
            "took_s": 41.0,
            "quick": True,
            "machine": {"load_before": [0.5]},
            "parts": {
                "embed": {"measures": "it", "result": {"what": "sonotheque bench embed"}, "seconds": 2.0},
                "api": {"left_out": "no time"},
            },
        },
    }
    for name, value in odd.items():
        (results / f"{name}.json").write_text(json.dumps(value))
    (results / "cut.json").write_text("{")
    told = readme.run(results=str(results), folder=str(tmp_path))
    assert len(told["unread"]) == 1
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    tables = (tmp_path / "TABLES.md").read_text(encoding="utf-8")
    assert "cpu_ms: 4.25" in page
    assert "a \\| b" in page
    assert "speed / x_realtime: 77" in page
    assert "it hums" in page
    assert "embed in 41 s; left out: api" in page
    assert "Not read: cut.json" in page
    assert "| speed / x_realtime | 77 |" in tables
    assert "api: left out: no time" in tables
    # A plot whose result went away goes too.
    shutil.copy(RESULTS / "probes.json", results / "probes.json")
    assert readme.run(results=str(results), folder=str(tmp_path))["plots"] == ["probes"]
    (results / "probes.json").unlink()
    readme.run(results=str(results), folder=str(tmp_path))
    assert list((tmp_path / "plots").iterdir()) == []


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda p: p.stem)
def test_every_kept_result_has_a_sentence(path: Path) -> None:
    told = headlines(read(path))
    assert told
    assert not any("older shape" in words for words in told)
    assert all(len(words) < 400 for words in told)


def test_every_verb_that_measures_is_a_kind_of_the_page() -> None:
    import typer

    from sonotheque.cli import main as front

    verbs = set(typer.main.get_command(front.app).commands["bench"].commands)  # type: ignore[attr-defined]
    assert verbs - {"compare", "readme"} == {kind.verb for kind in readme.KINDS} - {"suite"}
    assert (HERE / "METHODS.md").exists()
