"""Two results beside each other: which way a figure is better follows from its name, and what got worse is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import compare, run, text, verdict
from benchmarks.envelope import RESULTS, complete, provenance, read, verb, write
from benchmarks.figures import Figure, better, figures, settings
from sonotheque.core.errors import Invalid, NotFound

MACHINE = {
    "cpu": "Some CPU",
    "cores": 2,
    "python": "3.11.7",
    "versions": {"numpy": "2.0"},
    "load_before": [0.1, 0.1, 0.1],
    "commit": "abc",
}

PROOFS = ("chaos.json", "soak.json")  # they count what was lost and doubled; only how long they took can be compared


def made(**found: Any) -> dict[str, Any]:
    head = {"what": "sonotheque bench engines", "command": "sonotheque bench engines", "data": "windows"}
    return complete({**head, "machine": {**MACHINE}, "commit": "abc", "when": "2025-05-01T00:00:00+00:00", **found})


def kept(folder: Path, name: str, result: dict[str, Any]) -> str:
    write(result, folder / name)
    return str(folder / name)


@pytest.mark.parametrize(
    ("key", "way"),
    [
        ("wall_s", "lower"),
        ("cpu_ms_p95", "lower"),
        ("ms_per_window", "lower"),
        ("peak_rss_mb_by_windows", "lower"),
        ("bytes_per_window_1536_float16", "lower"),
        ("startup_s_2", "lower"),
        ("windows_per_s", "higher"),
        ("x_realtime_per_core", "higher"),
        ("x_realtime_per_cpu_s", "higher"),
        ("end_to_end_2", "higher"),
        ("recall_p5", "higher"),
        ("cosine_min", "higher"),
        ("gb_s", "higher"),
        ("share_of_read_speed", "higher"),
        ("windows", None),
        ("lists", None),
        ("is_done", None),
        ("class_names", None),
    ],
)
def test_units_last_in_names_say_which_way_is_better(key: str, way: str | None) -> None:
    assert better(key) == way


def test_rows_are_told_apart_by_their_names_and_repetitions_become_medians() -> None:
    result = made(
        rows=[{"model": "a", "precision": "fp32", "cpu_ms": 3.0}, {"model": "a", "precision": "bf16", "cpu_ms": 2.0}],
        runs=[{"wall_s": 1.0}, {"wall_s": 9.0}, {"wall_s": 2.0}],
        contestants=[
            {"key": "ours", "title": "x", "x_realtime": 5.0},
            {"key": "hoplite", "title": "y", "x_realtime": 1.0},
        ],
        took_s=[3.0, 1.0, 2.0],
        memory_mb_by_files={"100": {"workers": 7, "files": 100}},
        sound_s={"all": [1, 2, 3]},
        windows=1000,
        note_s="no number",
        nothing_s=None,
        broken_s=float("nan"),
        is_done_s=True,
    )
    found = {name: figure.value for name, figure in figures(result).items()}
    assert found == {
        "rows: a, fp32 / cpu_ms": 3.0,
        "rows: a, bf16 / cpu_ms": 2.0,
        "runs / wall_s": 2.0,
        "contestants: ours / x_realtime": 5.0,
        "contestants: hoplite / x_realtime": 1.0,
        "took_s": 2.0,
        "memory_mb_by_files / 100 / workers": 7.0,
    }
    assert [f.is_ours for f in figures(result).values()].count(False) == 1
    assert settings(result)["windows"] == 1000


@pytest.mark.parametrize(
    ("name", "way", "before", "after", "said"),
    [
        ("wall_s", "lower", 100.0, 105.0, "same"),
        ("wall_s", "lower", 100.0, 105.1, "worse"),
        ("wall_s", "lower", 105.1, 100.0, "better"),
        ("wall_s", "lower", 0.0, 0.0, "same"),
        ("errors", "lower", 0.0, 1.0, "worse"),
        ("per_s", "higher", 100.0, 95.0, "same"),
        ("per_s", "higher", 100.0, 94.9, "worse"),
        ("per_s", "higher", 100.0, 106.0, "better"),
        ("recall", "higher", 0.999, 0.996, "same"),
        ("recall", "higher", 0.999, 0.99, "worse"),
        ("hoplite / wall_s", "lower", 1.0, 9.0, "theirs"),
        ("bare_2", "higher", 9.0, 1.0, "theirs"),
    ],
)
def test_verdicts(name: str, way: Any, before: float, after: float, said: str) -> None:
    assert verdict(Figure(name, before, way), Figure(name, after, way)) == said


def test_a_result_beside_itself_is_the_same() -> None:
    for path in sorted(RESULTS.glob("*.json")):
        result = run(before=str(path), after=str(path))
        assert (result["worse"], result["better"], result["alone"]) == (0, 0, [])
        assert len(result["files"][0]["rows"]) >= (2 if path.name in PROOFS else 10), path.name
        assert all(row["ratio"] in (1.0, None) for row in result["files"][0]["rows"])


def test_what_is_different_about_two_runs_is_told_first(tmp_path: Path) -> None:
    before = made(windows=1000, wall_s=1.0, gone_s=1.0)
    other = {
        **MACHINE,
        "cpu": "Another",
        "versions": {"numpy": "2.4"},
        "load_before": [7.5, 1, 1],
        "instructions": ["amx_bf16"],
    }
    after = made(windows=50, wall_s=2.0, machine=other, new_ms=3.0) | {"data": "other windows"}
    told = compare("engines.json", before, after)
    words = "\n".join(told["differences"])
    for said in ("cpu: Some CPU before, Another after", "numpy: 2.0 before, 2.4 after", "busy after: a load of 7.5"):
        assert said in words
    assert "data: windows before, other windows after" in words
    assert "windows: 1000 before, 50 after" in words
    assert "instructions" not in words, "the older file does not tell them"
    assert (told["only_before"], told["only_after"]) == (["gone_s"], ["new_ms"])
    result = run(before=kept(tmp_path, "a.json", before), after=kept(tmp_path, "b.json", after))
    page = text(result)
    assert page.index("note: ") < page.index("WORSE")
    assert "1 worse and 0 better by more than 5 %" in page


def test_folders_are_compared_file_by_file(tmp_path: Path) -> None:
    kept(tmp_path / "one", "same.json", made(wall_s=1.0))
    kept(tmp_path / "two", "same.json", made(wall_s=0.5))
    kept(tmp_path / "one", "gone.json", made(wall_s=1.0))
    result = run(before=str(tmp_path / "one"), after=str(tmp_path / "two"))
    assert [file["name"] for file in result["files"]] == ["same.json"]
    assert result["alone"] == ["gone.json only before"]
    assert (result["worse"], result["better"]) == (0, 1)
    assert "not compared: gone.json only before" in text(result, changed=True)


def test_suites_are_compared_part_by_part(tmp_path: Path) -> None:
    def suite(wall_s: float) -> dict[str, Any]:
        inner = {"what": "sonotheque bench embed", "data": "x", "wall_s": wall_s}
        return made(parts={"embed": {"result": inner, "seconds": 3}, "api": {"left_out": "no time"}}) | {
            "what": "sonotheque bench"
        }

    result = run(before=kept(tmp_path, "a/suite.json", suite(1.0)), after=kept(tmp_path, "b/suite.json", suite(2.0)))
    assert [(f["name"], f["rows"][0]["verdict"]) for f in result["files"]] == [("suite.json: embed", "worse")]


def test_two_suites_of_two_names_are_compared_too(tmp_path: Path) -> None:
    inner = {"what": "sonotheque bench embed", "data": "x", "wall_s": 1.0}
    one = made(parts={"embed": {"result": inner}}) | {"what": "sonotheque bench"}
    result = run(before=kept(tmp_path, "before.json", one), after=kept(tmp_path, "after.json", one))
    assert result["files"][0]["rows"][0]["verdict"] == "same"


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = kept(tmp_path, "one.json", made(wall_s=1.0))
    other = kept(tmp_path, "other.json", made(wall_s=1.0) | {"what": "sonotheque bench api"})
    (tmp_path / "no.json").write_text('{"a": 1}')
    (tmp_path / "cut.json").write_text('{"what": "sono')
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="no figures in common"):
        run(before=one, after=other)
    with pytest.raises(Invalid, match="not one of each"):
        run(before=one, after=str(tmp_path))
    with pytest.raises(Invalid, match="no result of"):
        run(before=one, after=str(tmp_path / "no.json"))
    with pytest.raises(Invalid, match="cannot be read"):
        run(before=str(tmp_path / "cut.json"), after=one)
    with pytest.raises(NotFound):
        run(before=one, after=str(tmp_path / "none.json"))
    with pytest.raises(Invalid, match="no result in common"):
        run(before=str(tmp_path / "empty"), after=str(tmp_path / "empty"))


def test_the_verb_and_its_exit_code(tmp_path: Path) -> None:
    one, two = kept(tmp_path, "a.json", made(wall_s=1.0)), kept(tmp_path, "b.json", made(wall_s=1.2))

    def asked(*more: str) -> subprocess.CompletedProcess[str]:
        program = str(Path(sys.executable).parent / "sonotheque")
        return subprocess.run(
            [program, "bench", "compare", one, two, *more], capture_output=True, text=True, check=False
        )

    done = asked()
    assert done.returncode == 0, done.stderr
    assert "1.200  WORSE" in done.stdout
    assert asked("--fail-on-worse").returncode == 1
    assert asked("--fail-on-worse", "--percent", "25").returncode == 0
    assert json.loads(asked("--json").stdout)["worse"] == 1


def test_older_files_are_read_with_the_whole_envelope(tmp_path: Path) -> None:
    old = RESULTS / "embed-birdnet_v2.4.json"
    result = read(old)
    assert verb(result) == "embed"
    assert result["commit"]
    assert result["commit"] in provenance(result)
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps({"what": "sonotheque bench api"}))
    assert provenance(read(bare)) == "machine not told, commit not told"
    assert read(bare)["data"] == ""
