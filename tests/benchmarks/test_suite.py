"""The suite: parts in processes of their own, within the time that was promised, whatever they do; and its verb."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import calling, suite, suite_parts
from benchmarks.envelope import ENVELOPE, read, verb
from benchmarks.suite_parts import PARTS, Part, Size

FAKE = "tests.benchmarks.suite_fake"


def part(name: str, how: str, needs_s: int = 1, **constants: Any) -> Part:
    size = Size(needs_s, {"how": how, "note": None}, constants)
    return Part(name, FAKE, f"what {name} measures", size, size)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(here: Path, *parts: Part, within_s: float = 120.0) -> dict[str, Any]:
    return suite.run(quick=True, out=str(here / "suite.json"), quiet=True, parts=parts, within_s=within_s)


def test_a_part_that_fails_costs_the_others_nothing(here: Path) -> None:
    result = run(
        here, part("one", "refuse"), part("two", "crash"), part("three", "break"), part("four", "well", TIMES=2)
    )
    left = {name: told.get("left_out") for name, told in result["parts"].items()}
    assert left["one"] == "no such device here"
    assert left["two"].startswith("ended with 11: it said nothing")
    assert left["three"] == "RuntimeError: embed: exit 6: the weights are not here"
    assert left["four"] is None
    told = result["parts"]["four"]["result"]
    assert (told["times"], told["quiet"], told["note"]) == (2, True, "its default")
    assert "machine" not in told
    assert result["parts"]["four"]["measures"] == "what four measures"


def test_the_result_has_the_envelope_and_is_read_again(here: Path) -> None:
    result = run(here, part("one", "well"))
    kept = read(here / "suite.json")
    assert kept == json.loads(json.dumps(result))
    assert list(kept)[: len(ENVELOPE)] == list(ENVELOPE)
    assert verb(kept) == "suite"
    assert kept["command"] == "sonotheque bench --quick"
    assert len(kept["machine"]["load_after"]) == 3


def test_a_part_that_hangs_is_stopped_with_all_it_started(here: Path) -> None:
    result = run(here, part("one", "hang", needs_s=2), part("two", "well", needs_s=60), within_s=66.0)
    assert result["parts"]["one"]["left_out"].startswith("stopped: it was not done after")
    assert "`sonotheque bench one`" in result["parts"]["one"]["left_out"]
    started = int((here / ".bench" / "suite" / "one.pid").read_text())
    with suppress(psutil.NoSuchProcess):
        assert psutil.Process(started).status() == psutil.STATUS_ZOMBIE
    # What it took beyond its own need was taken from nobody: enough of the next part's minute is left.
    assert "result" in result["parts"]["two"]


def test_on_a_slow_machine_a_part_may_take_some_times_its_need(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def noted(one: Part, size: Size, limit_s: float) -> dict[str, Any] | None:
        limits.append(limit_s)
        return None

    monkeypatch.setattr(suite, "_child", noted)
    parts = [part(name, "well", needs_s=10) for name in ("one", "two", "three")]
    run(here, *parts, within_s=30.0)
    assert limits == pytest.approx([25, 25, 30], abs=0.5)
    limits.clear()
    run(here, *parts, within_s=20.0)
    assert limits == pytest.approx([20, 20, 20], abs=0.5)
    limits.clear()
    run(here, *parts, within_s=100.0)
    assert limits == pytest.approx([80, 90, 100], abs=0.5)


def test_what_there_is_no_time_for_is_left_out_and_says_so(here: Path) -> None:
    result = run(here, part("one", "well", needs_s=1000), part("two", "well"), within_s=60.0)
    assert "it takes about 1000 s" in result["parts"]["one"]["left_out"]
    assert "result" in result["parts"]["two"]


def test_a_constant_that_is_not_there_is_an_error(here: Path) -> None:
    result = run(here, part("one", "well", NO_SUCH=3))
    assert "has no NO_SUCH" in result["parts"]["one"]["left_out"]


def test_text_says_what_was_found_and_what_was_left_out(here: Path) -> None:
    result = run(here, part("one", "well"), part("two", "refuse"))
    words = suite.text(result)
    assert "one (" in words
    assert "work_s: 1.5" in words
    assert "two: left out: no such device here" in words
    assert "its figures mean little" in words


@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
def test_the_parts_fit_into_the_promise(quick: bool) -> None:
    sizes = [p.quick if quick else p.full for p in PARTS]
    assert sum(size.needs_s for size in sizes) <= (suite.QUICK_S if quick else suite.FULL_S)
    assert len({p.name for p in PARTS}) == len(PARTS)


@pytest.mark.parametrize("each", PARTS, ids=[p.name for p in PARTS])
def test_the_parts_settings_are_known_and_whole(each: Part) -> None:
    """A setting that a benchmark does not know would be left out silently; one that it needs and lacks would end it."""
    if not calling.is_there(each.module):
        pytest.skip(f"benchmarks/{each.module}.py is not there")
    import inspect

    measuring = calling.module(each.module)
    needed = {
        name
        for name, p in inspect.signature(measuring.run).parameters.items()
        if p.default is p.empty and p.kind is p.KEYWORD_ONLY
    }
    for size in (each.full, each.quick):
        given, unknown = calling.known(each.module, {**size.settings, "out": "x.json", "quiet": True})
        assert unknown == []
        assert needed <= set(given)
        assert all(hasattr(measuring, name) for name in size.constants)


def test_settings_that_say_nothing_are_left_out() -> None:
    given, unknown = calling.known(
        FAKE, {"how": "well", "note": None, "colour": None, "depth": False, "size": 3, "quiet": True}
    )
    assert given == {"how": "well", "quiet": True}
    assert unknown == ["size"]


def test_a_part_s_process_writes_what_stood_against_it(tmp_path: Path) -> None:
    target = tmp_path / "told.json"
    settings = json.dumps({"how": "refuse", "out": "x", "quiet": True})
    assert suite_parts.main(FAKE, str(target), settings, "{}") == 1
    assert json.loads(target.read_text()) == {"error": "no such device here"}
    assert suite_parts.main("no_such_benchmark", str(target), settings, "{}") == 1
    assert "not installed" in json.loads(target.read_text())["error"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--quick", "embed"], 2, "options stand behind the verb: sonotheque bench embed --quick"),
        (["compare", "no-such.json", "no-such.json"], 4, "no-such.json: there is no such file"),
        (["gpu", "--only", "sing"], 2, "--only takes search or embed"),
        (["readme", "--results", "nowhere"], 4, "no such folder of results"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    program = str(Path(sys.executable).parent / "sonotheque")
    done = subprocess.run([program, "bench", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
