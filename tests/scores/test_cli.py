"""``probe apply`` and ``probe hits``: what they print, their documents, their exit codes."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile

import pytest
import typer

from sonotheque.cli import main as front
from sonotheque.cli import probe_apply
from store import read_config
from tests.scores.kit import keep, poisoned, probe


@pytest.fixture
def run(capsys, monkeypatch, store):
    """Run a verb on the store; returns code, stdout, stderr."""
    group, app = typer.Typer(), typer.Typer()
    probe_apply.register(group)
    app.add_typer(group, name="probe")
    monkeypatch.setattr(front, "app", app)

    def call(*args: object, root: str = store) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sonotheque", "probe", *map(str, args), "--store", root])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            front.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_a_sitting(run, store, tmp_path):
    keep(store, probe())
    code, out, err = run("apply", "owl")
    assert code == 0 and "16 windows scored by owl 1 in" in out and "3 files" in out and err == ""
    code, out, _ = run("apply", "owl")
    assert code == 0 and out.startswith("nothing to score by owl 1") and "3 scored before" in out
    code, out, _ = run("hits", "owl", "--threshold", "0.9")
    assert code == 0 and out.startswith("probe owl version 1: ") and "probability" in out and "A/1.wav" in out
    code, out, _ = run("hits", "owl", "--format", "csv", "--label", "hoot")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and rows and {r["label"] for r in rows} == {"hoot"}
    code, out, err = run("hits", "owl", "-o", tmp_path / "hits.parquet", "--plot", tmp_path / "owl.png")
    assert code == 0 and "hits written to" in out and "drawn: " in err and (tmp_path / "owl.png").stat().st_size > 5000
    code, out, _ = run("hits", "owl", "--format", "raven", "-o", tmp_path / "raven", "--best-per", "recording")
    assert code == 0 and "(raven)" in out and list((tmp_path / "raven").rglob("*.txt"))


def test_documents(run, store):
    keep(store, probe())
    code, out, _ = run("apply", "--all", "--json", "--floor", "0")
    told = json.loads(out)
    assert code == 0 and (told["parts"], told["windows"], told["scores"], told["floor"]) == (3, 16, 48, 0.0)
    assert {
        "store",
        "filter",
        "probes",
        "windows_per_s",
        "window_scores_per_s",
        "failures",
        "not_scored",
        "notes",
    } <= set(told)
    code, out, _ = run("hits", "owl", "--json", "--threshold", "0", "--limit", "4", "--site", "B")
    told = json.loads(out)
    assert code == 0 and len(told["hits"]) == 4 and told["matching"] == 12 and told["filter"] == {"sites": ["B"]}
    assert told["plot"] is told["export"] is told["clips"] is None


def test_what_could_not_be_scored_is_an_exit_code(run, store):
    keep(store, probe())
    poisoned(store, float("nan"), (0,), part=2)
    code, out, err = run("apply", "owl")
    assert code == 3 and "not scored, its vector is not finite: " in err and "16 windows scored" in out
    code, out, err = run("hits", "owl")
    assert code == 0 and "note: 1 windows have no scores" in err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("apply",), 2, "no probe is named"),
        (("apply", "--all"), 4, "no probe in use"),
        (("apply", "owl"), 4, "owl"),
        (("hits", "owl"), 4, "owl"),
        (("hits", "owl", "--format", "xml", "-o", "x"), 2, "--format xml"),
        (("hits", "owl", "-o", "x.txt"), 2, "add --format"),
        (("hits", "owl", "--plot", "x.gif"), 2, "--plot"),
        (("hits", "owl", "--format", "csv", "--json"), 2, "--json and --format csv"),
        (("hits", "owl", "--clips-as", "mp3", "--clips", "x.zip"), 2, "--clips-as mp3"),
    ],
)
def test_what_is_refused(run, args, code, said):
    found, out, err = run(*args)
    assert found == code and said in err and (out == "" or "--json" in args)


def test_a_probe_that_was_not_applied(run, store):
    keep(store, probe())
    code, _, err = run("hits", "owl")
    assert code == 4 and "was not applied" in err


def test_clips(run, tmp_path):
    from tests.cluster.support import run as embed
    from tests.cluster.support import write_wav

    write_wav(tmp_path / "recordings" / "north" / "20240501_040000.wav", 7.0, seed=1)
    embed(tmp_path / "recordings", tmp_path / "archive", timezone="Europe/Paris")
    root = str(tmp_path / "archive")
    keep(root, probe("owl", spec=read_config(root).model, classes=("hoot",)))
    assert run("apply", "owl", "--floor", "0", "--quiet", root=root)[0] == 0
    code, out, err = run(
        "hits", "owl", "--threshold", "0", "--clips", tmp_path / "owl.zip", "--clips-as", "flac", "-q", root=root
    )
    assert code == 0, err
    assert "clips written to" in err
    with zipfile.ZipFile(tmp_path / "owl.zip") as clips:
        assert sum(name.endswith(".flac") for name in clips.namelist()) == out.count("hoot") - 1
    code, _, err = run("hits", "owl", "--clips", tmp_path / "owl.zip", root=root)
    assert code == 5 and "--clips" in err and "--overwrite" in err
