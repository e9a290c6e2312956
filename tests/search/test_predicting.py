"""The model's classes on request: what an archive embedded with them holds, and clear words where a recording is gone or another."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedder.models import load_model
from search_api.locating import Locator
from search_api.predicting import predict
from sonotheque.core.errors import Conflict, Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from store import open_archive
from tests.cluster.support import make_archive, run, write_wav


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Recordings, a store of them without predictions, and one with."""
    folder = tmp_path_factory.mktemp("predicting")
    make_archive(folder / "audio", sites=2, days=1, files=2, seconds=7.0)
    for name, top_k in (("without", 0), ("with", 3)):
        run(folder / "audio", folder / name, top_k=top_k)
    return folder


@pytest.fixture
def ours(made, tmp_path):
    """A copy of recordings and store that a test may spoil."""
    shutil.copytree(made / "audio", tmp_path / "audio")
    shutil.copytree(made / "without", tmp_path / "without")
    return tmp_path


def asked(folder: Path, where=None, **more):
    model = more.pop("model", None) or load_model("placeholder")
    with open_archive(str(folder / "without")) as archive:
        locator = Locator.of(str(folder / "without"), str(folder / "audio"))
        return predict(archive, model, locator, where, **more)


def test_they_are_those_of_an_archive_that_was_embedded_with_them(made):
    found = asked(made, top_k=3)
    with open_archive(str(made / "with")) as archive:
        truth = archive.sql(
            "SELECT path, start_s, rank, label, logit, score FROM predictions ORDER BY path, start_s, rank"
        )
    mine = found.table.select(["path", "start_s", "rank", "label", "logit", "score"]).to_pylist()
    assert len(mine) == truth.num_rows == found.windows * 3 > 0
    for one, other in zip(mine, truth.to_pylist(), strict=True):
        assert {k: one[k] for k in ("path", "start_s", "rank", "label")} == {
            k: other[k] for k in ("path", "start_s", "rank", "label")
        }
        assert one["logit"] == pytest.approx(other["logit"], abs=1e-5)
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
    assert found.failures == []


def test_a_filter_a_limit_and_a_few_classes(made):
    one_site = asked(made, SearchFilter(sites=("site1",)), top_k=1)
    assert {row["site"] for row in one_site.table.to_pylist()} == {"site1"}
    assert one_site.table.num_rows == one_site.windows == asked(made, top_k=1).windows / 2
    assert asked(made, limit=3, top_k=2).table.num_rows == 6
    nothing = asked(made, SearchFilter.from_texts({"hours": "12:00-13:00"}))
    assert (nothing.windows, nothing.table.num_rows, nothing.failures) == (0, 0, [])
    assert nothing.table.column_names == one_site.table.column_names


def test_progress_ends_at_the_number_of_windows(made):
    seen = []
    found = asked(made, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (found.windows, found.windows)


def test_chunks_never_cut_a_recording(made, monkeypatch):
    whole = asked(made).table
    for size in (1, 2, 5):
        monkeypatch.setattr("search_api.predicting._CHUNK", size)
        assert asked(made).table.equals(whole)


def test_a_recording_that_is_gone_or_short_costs_itself(ours):
    files = sorted((ours / "audio").rglob("*.wav"))
    files[0].unlink()
    write_wav(files[1], 2.0, seed=2)
    found = asked(ours)
    reasons = {Path(f["path"]).name + f["path"][:5]: f["reason"] for f in found.failures}
    assert len(reasons) == 2 and sum(f["windows"] for f in found.failures) + found.windows == asked_of_all(ours)
    assert any("is not below" in reason for reason in reasons.values())
    assert any("has no window at" in reason or "another vector" in reason for reason in reasons.values())
    assert {row["path"] for row in found.table.to_pylist()} == {f"{p.parent.name}/{p.name}" for p in files[2:]}


def asked_of_all(folder):
    with open_archive(str(folder / "without")) as archive:
        return archive.windows().num_rows


def test_another_sound_under_the_same_name_is_noticed_and_gives_no_row(ours):
    file = min((ours / "audio").rglob("*.wav"))
    t = np.arange(16_000 * 7) / 16_000
    import soundfile as sf

    sf.write(file, (0.5 * np.sin(2 * np.pi * 3000 * t)).astype(np.float32), 16_000, subtype="PCM_16")
    found = asked(ours)
    assert len(found.failures) == 1 and "another vector" in found.failures[0]["reason"]
    assert f"{file.parent.name}/{file.name}" not in {row["path"] for row in found.table.to_pylist()}


def test_recordings_that_moved_are_asked_for(ours):
    shutil.move(ours / "audio", ours / "elsewhere")
    with open_archive(str(ours / "without")) as archive, pytest.raises(NotFound, match="--recordings"):
        predict(archive, load_model("placeholder"), Locator.of(str(ours / "without"), str(ours / "audio")))


def test_weights_without_classes_or_of_another_model_are_refused(made):
    real = load_model("placeholder")
    headless = SimpleNamespace(spec=real.spec, classes=())
    with pytest.raises(Invalid, match=r"end at the embedding.*--weights"):
        asked(made, model=headless)
    other = SimpleNamespace(spec=SimpleNamespace(name="perch_v2", dim=1536), classes=("a",))
    with pytest.raises(Conflict, match="perch_v2") as caught:
        asked(made, model=other)
    assert caught.value.kind == "model_conflict"
    for top_k in (0, 1001):
        with pytest.raises(Invalid, match="1 to 1000"):
            asked(made, top_k=top_k)


def test_scores_of_an_archive_without_predictions_choose_nothing(made):
    for where in (SearchFilter(score_min=0.5), SearchFilter(rank_max=1), SearchFilter(score_max=0.5)):
        with pytest.raises(Invalid, match="has none"):
            asked(made, where)


def test_a_vector_of_nothing_or_of_nan_is_like_no_other():
    from search_api.predicting import _cosines

    ours = np.array([[np.nan, 1.0], [0.0, 0.0], [0.0, 0.0], [3.0, 4.0]], np.float32)
    stored = np.array([[1.0, 1.0], [3.0, 4.0], [0.0, 0.0], [6.0, 8.0]], np.float32)
    found = _cosines(ours, stored)
    assert np.isnan(found[0]) and found[1:].tolist() == [0.0, 1.0, 1.0]


def cli(*words):
    command = [str(Path(sys.executable).parent / "sonotheque"), "predict", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_writes_and_fails_in_words(ours):
    store = ours / "without"
    shown = cli("--store", store, "--recordings", ours / "audio", "--top-k", 1)
    assert shown.returncode == 0 and "class" in shown.stdout.splitlines()[0]
    told = json.loads(cli("--store", store, "--recordings", ours / "audio", "--json", "--limit", 2).stdout)
    assert told["windows"] == 2 and len(told["predictions"]) == 6 and told["failures"] == []
    assert cli("--store", store, "--recordings", ours / "audio", "--out", ours / "p.csv").returncode == 0
    assert cli("--store", store, "--recordings", ours / "audio", "--out", ours / "p.parquet").returncode == 0
    rows = list(csv.DictReader((ours / "p.csv").open(encoding="utf-8")))
    table = pq.read_table(ours / "p.parquet")
    assert len(rows) == table.num_rows == asked_of_all(ours) * 3
    assert [r["label"] for r in rows] == table["label"].to_pylist()
    again = cli("--store", store, "--recordings", ours / "audio", "--out", ours / "p.csv")
    assert again.returncode == 5 and "already there" in again.stderr
    assert cli("--store", store, "--out", ours / "p.xlsx").returncode == 2
    nothing = cli("--store", store, "--recordings", ours / "audio", "--hours", "12:00-12:01")
    assert nothing.returncode == 0 and "no window matches" in nothing.stdout
    min((ours / "audio").rglob("*.wav")).unlink()
    partly = cli("--store", store, "--recordings", ours / "audio")
    assert partly.returncode == 3 and "were not heard" in partly.stderr
