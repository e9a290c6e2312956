"""``sonotheque annotate``: what it prints, its documents' keys, its exit codes. The front door itself, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sonotheque.cli.main import main
from tests.annotations.support import write

A = "site0/20240501_040000.wav"
HOPLITE = "recording,start_offset_s,end_offset_s,label,label_type\n"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Annotate = Callable[..., Done]


@pytest.fixture
def annotate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Annotate:
    """Run the verb as the console script does."""
    monkeypatch.setenv("SONOTHEQUE_ANNOTATOR", "Ana")

    def run(*args: object) -> Done:
        monkeypatch.setattr("sys.argv", ["sonotheque", "annotate", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


def document(done: Done) -> dict[str, Any]:
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_a_session_from_import_to_undo(annotate: Annotate, store: str, tmp_path: Path) -> None:
    table = write(
        tmp_path, "x.csv", f"{HOPLITE}{A},1,2,owl,positive\n{A},3,14,wren,negative\nno.wav,1,2,owl,positive\n"
    )
    done = annotate("import", table, "--store", store, "--skip-unknown")
    assert done.returncode == 0, done.stderr
    assert "3 rows of 1 table (hoplite): 2 added as batch 1, 0 already there" in done.stdout
    assert "1 span cut at the end of the recording" in done.stdout
    assert "annotate undo --batch 1" in done.stdout
    assert "left out: 1 row of 1 recording not in the store, such as no.wav" in done.stderr

    done = annotate(
        "add",
        "--store",
        store,
        "--recording",
        A,
        "--start-s",
        5,
        "--end-s",
        6,
        "--label",
        "a\x1b[31mb",
        "--low-hz",
        300,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout, "a terminal obeys control characters"
    listed = annotate("list", "--store", store)
    assert listed.stdout.splitlines()[2].split() == ["1", A, "1", "2", "owl", "positive", "Ana"]
    assert "\x1b" not in listed.stdout
    assert "1 of 3 shown" in annotate("list", "--store", store, "--limit", 1).stdout
    assert annotate("labels", "--store", store).stdout.count("\n") == 5

    done = annotate("export", tmp_path / "out", "--format", "raven", "--store", store)
    assert (done.returncode, done.stderr) == (0, "left out: 1 negative; --judgement all writes all\n")
    assert (tmp_path / "out" / "site0" / "20240501_040000.Table.1.selections.txt").exists()
    assert "cannot hold" in annotate("export", tmp_path / "a", "--format", "audacity", "--store", store).stderr

    done = annotate("undo", "--last", "--store", store)
    assert done.stdout.startswith("batch 2: 1 undone\n")
    assert annotate("undo", "--batch", 3, "--store", store).stdout.startswith("batch 3: 1 restored\n")
    history = annotate("list", "--history", "--store", store).stdout
    assert [line.split()[1] for line in history.splitlines()[2:]] == ["add", "add", "add", "undo", "restore"]


def test_documents_have_stable_keys(annotate: Annotate, store: str, tmp_path: Path) -> None:
    table = write(tmp_path, "x.csv", f"{HOPLITE}{A},1,2,owl,positive\n")
    keys = {
        "import": {
            "files",
            "rows",
            "batch",
            "added",
            "already_there",
            "not_judged",
            "contrary",
            "cut",
            "unknown",
            "found_by",
            "left_out",
            "dry_run",
        },
        "add": {"batch", "added", "already_there", "contrary", "path", "start_s", "end_s", "label"},
        "list": {"count", "annotations"},
        "list --history": {"count", "events"},
        "labels": {"labels"},
        "export": {"out", "format", "files", "annotations", "left_out"},
        "undo": {"batch", "undoes", "undone", "restored", "left"},
    }
    span = ("--recording", A, "--start-s", 5, "--end-s", 6, "--label", "owl")
    found = {
        "import": document(annotate("import", table, "--store", store, "--json")),
        "add": document(annotate("add", "--store", store, *span, "--json")),
        "list": document(annotate("list", "--store", store, "--json")),
        "list --history": document(annotate("list", "--history", "--store", store, "--json")),
        "labels": document(annotate("labels", "--store", store, "--json")),
        "export": document(annotate("export", tmp_path / "x.parquet", "--store", store, "--json")),
        "undo": document(annotate("undo", "--id", 1, "--store", store, "--json")),
    }
    assert {verb: set(one) for verb, one in found.items()} == keys
    first = found["list"]["annotations"][0]
    assert first["created_utc"].endswith("Z")
    assert (first["label"], first["annotator"], first["low_hz"]) == ("owl", "Ana", None)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["import", "nowhere.csv"], 4, "nowhere.csv is not there"),
        (["add", "--recording", "no.wav", "--start-s", 0, "--end-s", 1, "--label", "x"], 4, "is no recording"),
        (["add", "--recording", A, "--start-s", 2, "--end-s", 1, "--label", "x"], 2, "after the start"),
        (
            ["add", "--recording", A, "--start-s", 0, "--end-s", 1, "--label", "x", "--judgement", "yes"],
            2,
            "judgement 'yes'",
        ),
        (["undo", "--last"], 4, "holds no annotations"),
        (["undo", "--last", "--batch", 1], 2, "expected one of"),
        (["undo"], 2, "expected one of"),
        (["export", "x.parquet"], 4, "nothing to write"),
        (["list", "--label", "x"], 4, "no annotation"),
    ],
)
def test_errors_have_their_exit_codes_and_say_what_to_do(
    annotate: Annotate, store: str, args: list[object], code: int, words: str
) -> None:
    done = annotate(*args, "--store", store)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(store, "annotations.sqlite").exists()


def test_a_refused_import_is_one_json_error(annotate: Annotate, store: str, tmp_path: Path) -> None:
    table = write(tmp_path, "x.csv", f"{HOPLITE}{A},1,x,owl,positive\n")
    done = annotate("import", table, "--store", store, "--json")
    assert done.returncode == 2
    assert document(done)["error"]["kind"] == "invalid_table"
    assert "line 2, column 'end_offset_s': 'x'" in document(done)["error"]["message"]


def test_an_empty_store_lists_nothing(annotate: Annotate, store: str) -> None:
    assert annotate("list", "--store", store).stdout == "no annotations\n"
    assert annotate("labels", "--store", store).stdout == "no annotations\n"
    assert document(annotate("labels", "--store", store, "--json")) == {"labels": []}


def test_a_hostile_label_from_the_command_line_is_kept_or_refused(annotate: Annotate, store: str) -> None:
    span = ("--store", store, "--recording", A, "--start-s", 5, "--end-s", 6, "--label")
    for label in ("=1+1", "🦉 a\tb\nc '; DROP TABLE annotations; --"):
        assert annotate("add", *span, label).returncode == 0
    for label in (" ", "\x07"):
        done = annotate("add", *span, label)
        assert done.returncode == 2, label
        assert "label" in done.stderr
    found = document(annotate("list", "--store", store, "--json"))
    assert [row["label"] for row in found["annotations"]] == ["=1+1", "🦉 a\tb\nc '; DROP TABLE annotations; --"]


def test_two_imports_at_once_lose_nothing(annotate: Annotate, store: str, tmp_path: Path) -> None:
    from tests.cluster.support import start_cli

    tables = [
        write(
            tmp_path,
            f"{name}.csv",
            HOPLITE + "".join(f"{A},{i * 0.01:.2f},{i * 0.01 + 1:.2f},{name},positive\n" for i in range(200)),
        )
        for name in ("owl", "wren", "fox")
    ]
    running = [
        start_cli("annotate", "import", table, "--store", store, "--annotator", "Ana", "--json") for table in tables
    ]
    done = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert [one["added"] for one in done] == [200] * 3
    assert sorted(one["batch"] for one in done) == [1, 2, 3]
    assert document(annotate("list", "--store", store, "--json"))["count"] == 600
