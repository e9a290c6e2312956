"""The main job from end to end, in this process: files, settings, damage, full disks."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import store.fsops
from cluster.run import embed, prepare
from cluster.status import verify_store
from embedder.audio import open_windows
from embedder.models import load_model
from sonotheque.core.errors import Conflict, Damaged, Unavailable
from sonotheque.core.outcome import MEANING, Outcome, Status
from sonotheque.core.recording import printable_path
from sonotheque.core.windows import WindowRule
from store import open_archive, read_config
from tests.audio.damage import DAMAGE
from tests.cluster.support import (
    cli,
    cli_env,
    make_archive,
    options,
    part_files,
    predictions,
    report_rows,
    run,
    vectors,
    windows,
    write_wav,
)


@pytest.fixture
def store_folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive", sites=2, days=2, files=2)


# ---- the whole corpus of damaged files in one folder ------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return the folder, and the generator's name of each path."""
    folder = tmp_path_factory.mktemp("corpus")
    made = {}
    for name, damage in DAMAGE.items():
        (folder / name).mkdir()
        path = Path(damage.make(folder / name))
        made[printable_path(str(path.relative_to(folder)))] = name
    return folder, made


@pytest.fixture(scope="module")
def corpus_run(
    corpus: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    target = tmp_path_factory.mktemp("corpus_store") / "store"
    report = run(corpus[0], target, site="everywhere")  # few parts: good and bad files share batches
    assert report.parts <= 5
    return target, report_rows(report)


@pytest.mark.parametrize("name", list(DAMAGE))
def test_each_damaged_file_ends_as_it_must(
    corpus: tuple[Path, dict[str, str]], corpus_run: tuple[Path, dict[str, Any]], name: str
) -> None:
    target, rows = corpus_run
    path = next(p for p, made in corpus[1].items() if made == name)
    found, status = rows[path], DAMAGE[name].status
    assert found["status"] == str(status), found
    assert found["outcome"] == str(MEANING[status].outcome)
    assert (found["windows"] > 0) == (MEANING[status].outcome is Outcome.DONE)
    assert len([w for w in windows(target) if w[0] == path]) == found["windows"]
    assert bool(found["reason"]) == (status is not Status.OK)


def test_the_corpus_gives_finite_vectors_only(corpus_run: tuple[Path, dict[str, Any]]) -> None:
    found = vectors(corpus_run[0])
    assert len(found) == sum(row["windows"] for row in corpus_run[1].values()) > 100
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["wav_16", "flac_16", "wav_stereo", "wav_44_1_khz", "opus"])
def test_a_good_file_is_not_harmed_by_its_neighbours(
    corpus: tuple[Path, dict[str, str]], corpus_run: tuple[Path, dict[str, Any]], name: str
) -> None:
    """Its vectors are those of the model run on it alone, window by window."""
    path = next(p for p, made in corpus[1].items() if made == name)
    model = load_model("placeholder")
    stream = open_windows(str(corpus[0] / path), WindowRule.for_model(model.spec))
    alone = np.concatenate([model.embed(frame[None]).embeddings for _, _, frame in stream])
    with open_archive(str(corpus_run[0])) as opened:
        stored = np.concatenate([v[np.array(w["path"].to_pylist()) == path] for w, v in opened.vectors()])
    assert np.array_equal(stored, alone.astype(np.float16).astype(np.float32))


def test_a_second_run_over_the_corpus_does_nothing(
    corpus: tuple[Path, dict[str, str]], corpus_run: tuple[Path, Any]
) -> None:
    target, rows = corpus_run
    before = part_files(target)
    report = run(corpus[0], target, site="everywhere")
    assert (report.done, report.windows, report.parts) == (0, 0, 0)
    assert report.failed == sum(r["outcome"] == "failed" for r in rows.values())
    assert report.skipped == report.files - report.failed
    assert part_files(target) == before
    assert report.snapshot == 1  # nothing new, no new one


def test_failed_files_are_tried_again_when_asked(
    corpus: tuple[Path, dict[str, str]], corpus_run: tuple[Path, Any]
) -> None:
    target, rows = corpus_run
    before = windows(target)
    report = run(corpus[0], target, site="everywhere", retry_failed=True)
    failed = {p for p, r in rows.items() if r["outcome"] == "failed"}
    assert {p for p, r in report_rows(report).items() if "already in the store" not in r["reason"]} == failed
    assert report.failed == len(failed)
    assert windows(target) == before


# ---- again, more, changed ---------------------------------------------------------------------------------------------


def test_an_added_file_adds_only_itself(archive: Path, store_folder: Path) -> None:
    run(archive, store_folder)
    before = part_files(store_folder)
    write_wav(archive / "site0" / "20240501_090000.wav", 6.0, seed=40)
    report = run(archive, store_folder)
    assert (report.done, report.windows, report.skipped) == (1, 3, 8)
    after = part_files(store_folder)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 2
    assert report.snapshot == 2


def test_a_file_that_gets_better_after_it_failed(archive: Path, store_folder: Path) -> None:
    (archive / "site0" / "late.wav").write_bytes(b"not copied yet")
    assert run(archive, store_folder).failed == 1
    write_wav(archive / "site0" / "late.wav", 4.0, seed=3)
    report = run(archive, store_folder)
    assert (report.done, report.failed) == (1, 0)


def test_a_file_that_vanishes_or_changes_after_the_plan(
    archive: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cluster.run

    plain = cluster.run.prepare

    def then_something_happens(*args: Any) -> Any:
        prepared = plain(*args)
        (archive / "site0" / "20240501_040000.wav").unlink()
        write_wav(archive / "site0" / "20240501_050000.wav", 9.0, seed=8)
        return prepared

    monkeypatch.setattr(cluster.run, "prepare", then_something_happens)
    report = run(archive, store_folder)
    assert report.failed_by_kind == {"vanished": 1, "changed": 1}
    assert len(windows(store_folder)) == 6 * 2
    monkeypatch.undo()
    again = run(archive, store_folder)  # what passes is tried again unasked
    assert (again.files, again.done, again.failed) == (7, 1, 0)
    assert run(archive, store_folder).done == 0


class ChangesItself:
    """A stream of windows whose file is touched after the third."""

    def __init__(self, path: str, stream: Any) -> None:
        self._path, self._stream = path, stream

    def __iter__(self) -> Iterator[Any]:
        for number, window in enumerate(self._stream):
            if number == 3:
                os.utime(self._path, ns=(1, 1))
            yield window

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def test_a_file_that_changes_while_it_is_read_leaves_no_rows(
    archive: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import embedder.pipeline

    write_wav(archive / "site0" / "20240501_043000.wav", 60.0, seed=70)
    plain = embedder.pipeline.open_windows

    def changes(path: str, *args: Any, **more: Any) -> Any:
        stream = plain(path, *args, **more)
        return ChangesItself(path, stream) if "043000" in path else stream

    monkeypatch.setattr(embedder.pipeline, "open_windows", changes)
    report = run(archive, store_folder)
    assert report.failed_by_kind == {"changed": 1}
    assert not [w for w in windows(store_folder) if "043000" in w[0]]
    assert report.store_windows == report.windows == 8 * 2
    monkeypatch.undo()
    again = run(archive, store_folder)
    assert (again.done, again.windows) == (1, 30)


def test_a_file_that_passes_again_is_retried_unasked(
    archive: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import embedder.pipeline

    plain = embedder.pipeline.open_windows

    def unreadable_now(path: str, *args: Any, **more: Any) -> Any:
        return plain(path + (".gone" if "site1" in path else ""), *args, **more)

    monkeypatch.setattr(embedder.pipeline, "open_windows", unreadable_now)
    assert run(archive, store_folder).failed == 4
    monkeypatch.undo()
    report = run(archive, store_folder)
    assert (report.done, report.failed, report.skipped) == (4, 0, 4)


def test_a_part_that_cannot_be_read_stops_the_run_before_it_doubles(archive: Path, store_folder: Path) -> None:
    run(archive, store_folder)
    part = next((store_folder / "embeddings").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(Damaged, match=part.name) as caught:
        embed(options(archive, store_folder))
    assert "mv" in caught.value.message
    part.rename(f"{part}.damaged")
    assert run(archive, store_folder).done == 2


# ---- settings ---------------------------------------------------------------------------------------------------------


def test_overlap(tmp_path: Path, store_folder: Path) -> None:
    write_wav(tmp_path / "a" / "x.wav", 5.0)
    run(tmp_path / "a", store_folder, hop_s=0.5)
    found = windows(store_folder, "start_s, end_s, valid_s")
    assert found == [(i * 0.5, i * 0.5 + 2.0, 2.0) for i in range(7)]


@pytest.mark.parametrize(
    ("factor", "rate_hz", "seconds", "starts", "end_s"),
    [
        pytest.param(10.0, 160_000, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8], 1.0, id="bats: ten times slower"),
        pytest.param(0.1, 1_600, 60.0, [0.0, 20.0, 40.0], 60.0, id="whales: ten times faster"),
    ],
)
def test_time_expansion_keeps_true_seconds(
    tmp_path: Path, store_folder: Path, factor: float, rate_hz: int, seconds: float, starts: list[float], end_s: float
) -> None:
    write_wav(tmp_path / "a" / "20240501_040000.wav", seconds, rate_hz=rate_hz)
    report = run(tmp_path / "a", store_folder, rate_factor=factor, timezone="UTC")
    assert report.audio_s == seconds
    found = windows(store_folder, "start_s, end_s, utc_start")
    assert [row[0] for row in found] == pytest.approx(starts)
    assert found[-1][1] == pytest.approx(end_s)
    # At this rate the file's samples reach the model as they are: what it saw is the file played slower or faster.
    samples = sf.read(tmp_path / "a" / "20240501_040000.wav", dtype="float32")[0][:32_000]
    seen = load_model("placeholder").embed(samples[None]).embeddings.astype(np.float16)
    assert np.array_equal(vectors(store_folder)[:1], seen.astype(np.float32))
    at = datetime(2024, 5, 1, 4, tzinfo=UTC).timestamp()
    assert [row[2].timestamp() for row in found] == pytest.approx([at + s for s in starts])


@pytest.mark.parametrize("channels", ["mean", "first"])
def test_stereo(tmp_path: Path, store_folder: Path, channels: str) -> None:
    write_wav(tmp_path / "a" / "x.wav", 2.0, channels=2)
    run(tmp_path / "a", store_folder, channels=channels)
    samples = sf.read(tmp_path / "a" / "x.wav", dtype="float32")[0]
    mono = samples[:, 0] if channels == "first" else (samples[:, 0] + samples[:, 1]) / np.float32(2)
    wanted = load_model("placeholder").embed(np.ascontiguousarray(mono)[None]).embeddings.astype(np.float16)
    assert np.array_equal(vectors(store_folder), wanted.astype(np.float32))


def test_without_predictions(archive: Path, store_folder: Path) -> None:
    report = run(archive, store_folder, top_k=0)
    assert report.done == 8
    assert not (store_folder / "predictions").exists()
    assert predictions(store_folder) == []
    assert {r["top_label"] for r in report_rows(report).values()} == {""}


def test_predictions(archive: Path, store_folder: Path) -> None:
    report = run(archive, store_folder, top_k=2)
    found = predictions(store_folder, "path, start_s, rank, label, logit, score")
    assert len(found) == 2 * report.windows
    assert [row[2] for row in found] == [1, 2] * report.windows
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert first[:2] == second[:2]
        assert first[4] >= second[4]
        assert first[5] == pytest.approx(1 / (1 + np.exp(-first[4])))
    tops = {r["path"]: (r["top_label"], r["top_score"]) for r in report_rows(report).values()}
    best = {path: max((row for row in found if row[0] == path), key=lambda row: row[5]) for path in tops}
    assert tops == {path: (row[3], round(row[5], 4)) for path, row in best.items()}


def test_float32(archive: Path, store_folder: Path, tmp_path: Path) -> None:
    run(archive, store_folder)
    run(archive, tmp_path / "wide", dtype="float32")
    narrow, wide = vectors(store_folder), vectors(tmp_path / "wide")
    assert not np.array_equal(narrow, wide)
    assert np.array_equal(narrow, wide.astype(np.float16).astype(np.float32))
    assert read_config(str(tmp_path / "wide")).dtype == "float32"


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        pytest.param({}, {"hop_s": 1.0}, ["hop_s: 2.0 there, 1.0 asked"], id="hop"),
        pytest.param({}, {"rate_factor": 10.0}, ["rate_factor: 1.0 there, 10.0 asked"], id="rate factor"),
        pytest.param({"dtype": "float32"}, {"dtype": "float16"}, ["dtype: float32 there, float16 asked"], id="dtype"),
        pytest.param({}, {"channels": "first"}, ["channels: mean there, first asked"], id="channels"),
        pytest.param({"top_k": 2}, {"top_k": 1}, ["top_k: 2 there, 1 asked"], id="top k"),
        pytest.param({}, {"model": "birdnet_v2.4"}, ["placeholder", "birdnet_v2.4"], id="model"),
    ],
)
def test_a_store_of_other_settings_is_refused_with_both_values(
    archive: Path, store_folder: Path, first: dict[str, Any], then: dict[str, Any], words: list[str]
) -> None:
    run(archive, store_folder, **first)
    before = part_files(store_folder)
    for attempt in (prepare, embed):
        with pytest.raises(Conflict) as caught:
            attempt(options(archive, store_folder, **then))
        assert all(word in caught.value.message for word in words)
        assert caught.value.kind == ("model_conflict" if "model" in then else "settings_conflict")
    assert part_files(store_folder) == before


def test_options_left_out_are_the_stores(archive: Path, store_folder: Path) -> None:
    run(archive, store_folder, hop_s=1.0, dtype="float32", channels="first", top_k=2, rate_factor=2.0)
    config = (store_folder / "sonotheque.json").read_bytes()
    write_wav(archive / "site0" / "20240501_090000.wav", 4.0, seed=41)
    assert run(archive, store_folder, model=None).done == 1
    assert (store_folder / "sonotheque.json").read_bytes() == config


def test_sites_and_zones(archive: Path, store_folder: Path) -> None:
    report = run(archive, store_folder, timezone="America/New_York")
    columns = "site, date::VARCHAR AS date, path, local_start, utc_start"
    found = windows(store_folder, columns)
    assert {row[0] for row in found} == {"site0", "site1"}
    assert {row[1] for row in found} == {"2024-05-01", "2024-05-02"}
    first = next(row for row in found if row[2] == "site0/20240501_040000.wav")
    assert first[3] == datetime(2024, 5, 1, 4)
    assert first[4] == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert {r["start"][-6:] for r in report_rows(report).values()} == {"-04:00"}


def test_one_site_for_all(archive: Path, store_folder: Path) -> None:
    run(archive, store_folder, site="Marsh /é")
    assert {row[0] for row in windows(store_folder, "site")} == {"Marsh /é"}


def test_site_from_the_prefix_and_a_clock_on_utc(tmp_path: Path, store_folder: Path) -> None:
    write_wav(tmp_path / "a" / "Data" / "POND7_20240501_233000.wav")
    run(tmp_path / "a", store_folder, site_from="prefix", timezone="Europe/Paris", clock_timezone="UTC")
    found = windows(store_folder, "site, date::VARCHAR AS date, local_start, utc_start")[0]
    assert found == ("POND7", "2024-05-02", datetime(2024, 5, 2, 1, 30), datetime(2024, 5, 1, 23, 30, tzinfo=UTC))


def test_a_time_pattern_of_the_users(tmp_path: Path, store_folder: Path) -> None:
    write_wav(tmp_path / "a" / "rec 04h30 on 1-5-2024.wav")
    pattern = r"(?P<hour>\d\d)h(?P<minute>\d\d) on (?P<day>\d+)-(?P<month>\d+)-(?P<year>\d{4})"
    run(tmp_path / "a", store_folder, time_pattern=pattern)
    assert windows(store_folder, "local_start")[0][0] == datetime(2024, 5, 1, 4, 30)


def test_deployments(archive: Path, store_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "deployments.csv"
    table.write_text(
        "deploymentID,locationName,latitude,longitude,deploymentStart,deploymentEnd,timezone,folder\n"
        "d1,North Bog,60.5,10.25,2024-04-01,2024-06-01,Europe/Oslo,site0\n"
        "d9,Nowhere,1,2,2024-04-01,2024-06-01,Europe/Oslo,site9\n",
        encoding="utf-8",
    )
    report = run(archive, store_folder, deployments=str(table))
    found = windows(store_folder, "site, utc_start")
    assert {row[0] for row in found} == {"North Bog", "site1"}
    assert next(u for s, u in found if s == "North Bog") == datetime(2024, 5, 1, 2, tzinfo=UTC)
    assert report.outside_deployments == 4
    assert report.deployments_unused == ["d9"]


def test_a_table_of_times(archive: Path, store_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "times.csv"
    table.write_text("path,start\nsite0/20240501_040000.wav,2023-01-02T03:04:05+00:00\n", encoding="utf-8")
    report = run(archive, store_folder, times=str(table))
    found = windows(store_folder, "path, date::VARCHAR AS date, utc_start")
    assert found[0] == ("site0/20240501_040000.wav", "2023-01-02", datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert report_rows(report)["site0/20240501_040000.wav"]["time_source"] == "table"


def test_files_of_unknown_time_have_a_partition_too(tmp_path: Path, store_folder: Path) -> None:
    write_wav(tmp_path / "a" / "owl.wav")
    report = run(tmp_path / "a", store_folder)
    assert report.without_time == 1
    assert windows(store_folder, "date, utc_start, local_start") == [(None, None, None)] * 2


# ---- the plan ---------------------------------------------------------------------------------------------------------


def test_the_plan_is_what_the_run_does(archive: Path, store_folder: Path) -> None:
    plan = prepare(options(archive, store_folder)).plan
    assert not store_folder.exists()
    report = run(archive, store_folder)
    assert (plan.files, plan.new, plan.windows, plan.parts) == (report.files, report.done, report.windows, report.parts)
    assert plan.audio_s == pytest.approx(report.audio_s)
    assert plan.bytes == pytest.approx(report.bytes, rel=20)  # tiny parts are all footer
    assert json.loads(json.dumps(plan.to_json()))["sites"] == {"site0": 4, "site1": 4}
    again = prepare(options(archive, store_folder)).plan
    assert (again.new, again.settled, again.windows, again.parts) == (0, 8, 0, 0)


# ---- a store that cannot be written to --------------------------------------------------------------------------------


def failing_create(code: int, words: str, after: int) -> Any:
    calls = 0
    plain = store.fsops.LocalFileOps.create

    def create(self: Any, path: str) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(code, words, path)
        return plain(self, path)

    return create


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (28, "No space left on device", "disk_full"),
        (122, "Disk quota exceeded", "disk_full"),
        (30, "Read-only file system", "read_only"),
    ],
    ids=["ENOSPC", "EDQUOT", "EROFS"],
)
@pytest.mark.parametrize("after", [0, 1, 4, 6])
def test_a_full_or_read_only_disk_ends_the_run_and_harms_nothing(
    archive: Path,
    store_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    words: str,
    kind: str,
    after: int,
) -> None:
    run(archive, tmp_path / "clean")
    with monkeypatch.context() as patch:
        patch.setattr(store.fsops.LocalFileOps, "create", failing_create(code, words, after))
        with pytest.raises(Unavailable) as caught:
            embed(options(archive, store_folder))
    assert caught.value.kind == kind
    assert str(store_folder) in caught.value.message
    clean, committed = part_files(tmp_path / "clean"), part_files(store_folder)
    assert committed.items() <= clean.items()
    assert run(archive, store_folder).failed == 0
    assert part_files(store_folder) == clean
    assert not list((store_folder / "_tmp").iterdir())


def test_a_disk_that_is_full_for_the_jobs_own_files_too(
    archive: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log cannot be written either: the error is still the full disk, and no traceback."""
    import cluster.job

    def full(self: Any, *args: Any, **more: Any) -> None:
        raise Unavailable("no room to write", kind="disk_full")

    with monkeypatch.context() as patch:
        patch.setattr(store.fsops.LocalFileOps, "create", failing_create(28, "No space left on device", 3))
        patch.setattr(cluster.job.JobFolder, "event", full)
        with pytest.raises(Unavailable) as caught:
            embed(options(archive, store_folder))
    assert caught.value.kind == "disk_full"
    assert run(archive, store_folder).failed == 0


def test_a_limit_on_file_sizes_is_a_full_disk(tmp_path: Path) -> None:
    """A real error of the operating system, through the command line: exit code 6, and the next run completes."""
    archive = make_archive(tmp_path / "archive", sites=1, days=3, files=1, seconds=4.0)
    write_wav(archive / "site0" / "20240502_120000.wav", 600.0, seed=5)
    arguments = ["embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--workers", "0"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    command = [sys.executable, "-m", "sonotheque.cli.main", *map(str, arguments), "--json"]
    done = subprocess.run(command, env=cli_env(), capture_output=True, text=True, preexec_fn=limit, timeout=60)
    assert done.returncode == 6, done.stderr
    assert json.loads(done.stdout)["error"]["kind"] == "disk_full"
    assert "Traceback" not in done.stderr
    assert verify_store(str(tmp_path / "store")).damaged == 0
    committed = part_files(tmp_path / "store")
    assert committed
    assert cli(*arguments).returncode == 0
    run(archive, tmp_path / "clean")
    assert part_files(tmp_path / "store") == part_files(tmp_path / "clean")
    assert committed.items() <= part_files(tmp_path / "store").items()
