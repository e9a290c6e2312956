"""The pipeline against its dumb twin: each file decoded whole, each window alone through the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from embedder.pipeline import AudioFile, EmbedPipeline, FileEnd, Rows
from sonotheque.core.outcome import Status
from tests.pipeline.fakes import CLASSES, RULE, WINDOW, FakeModel, rows_by_file, sound_file

# Windows of each file: none, a part of one, exactly one, a kept and a dropped remainder, more than any batch.
LENGTHS = (0.2, 1.0, 0.6, 7.0, 3.7, 12.3, 0.5, 2.0, 33.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[AudioFile]:
    folder = tmp_path_factory.mktemp("sounds")
    found = [sound_file(folder / f"{i}.wav", length, i) for i, length in enumerate(LENGTHS)]
    (folder / "text.wav").write_bytes(b"this is no sound\n" * 100)
    found.insert(4, AudioFile(str(folder / "text.wav")))
    return [*found, AudioFile(str(folder / "gone.wav"))]


def twin(file: AudioFile, top_k: int) -> list[tuple[object, ...]]:
    try:
        samples, _ = sf.read(file.path, dtype="float32")
    except (sf.LibsndfileError, OSError):
        return []
    model, rows = FakeModel(), []
    for start in range(0, len(samples), WINDOW):
        piece = samples[start : start + WINDOW]
        if len(piece) < RULE.valid_samples_min:
            continue
        frame = np.zeros((1, WINDOW), np.float32)
        frame[0, : len(piece)] = piece
        out = model.embed(frame)
        assert out.logits is not None
        order = sorted(range(CLASSES), key=lambda c: (-out.logits[0, c], c))[:top_k]
        values = out.logits[0, order]
        scores = model.scores(values)
        rows.append((start, len(piece), out.embeddings[0].tobytes(), tuple(order), tuple(values), tuple(scores)))
    return rows


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 16, 1000])
@pytest.mark.parametrize("decoders", [1, 3])
def test_rows_are_the_twins(files: list[AudioFile], batch_size: int, decoders: int) -> None:
    pipeline = EmbedPipeline(FakeModel(batch_size=batch_size), RULE, top_k=3, decoders=decoders)
    found = rows_by_file(list(pipeline.run(files)))
    assert found == {i: twin(file, 3) for i, file in enumerate(files)}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_files_changes_nothing_about_a_file(files: list[AudioFile], seed: int) -> None:
    shuffled = [files[i] for i in np.random.default_rng(seed).permutation(len(files))]
    found = rows_by_file(list(EmbedPipeline(FakeModel(batch_size=5), RULE, top_k=2, decoders=2).run(shuffled)))
    assert found == {i: twin(file, 2) for i, file in enumerate(shuffled)}


def test_a_pipeline_can_run_again(files: list[AudioFile]) -> None:
    pipeline = EmbedPipeline(FakeModel(), RULE, top_k=1)
    assert rows_by_file(list(pipeline.run(files))) == rows_by_file(list(pipeline.run(files)))


@pytest.mark.parametrize("decoders", [1, 4])
def test_events_come_in_order(files: list[AudioFile], decoders: int) -> None:
    events = list(EmbedPipeline(FakeModel(batch_size=3), RULE, decoders=decoders).run(files))
    indices = [e.file_index for e in events]
    assert indices == sorted(indices)
    ends = [e.file_index for e in events if isinstance(e, FileEnd)]
    assert ends == list(range(len(files)))
    for index in range(len(files)):
        mine = [e for e in events if e.file_index == index]
        assert isinstance(mine[-1], FileEnd)
        starts = [s for e in mine if isinstance(e, Rows) for s in e.start_samples.tolist()]
        assert starts == sorted(set(starts))


def test_statuses_travel_with_the_ends(files: list[AudioFile]) -> None:
    ends = [e for e in EmbedPipeline(FakeModel(), RULE).run(files) if isinstance(e, FileEnd)]
    statuses = [e.summary.status for e in ends]
    assert statuses[0] is Status.TOO_SHORT
    assert statuses[4] is Status.UNREADABLE
    assert statuses[-1] is Status.VANISHED
    assert statuses.count(Status.OK) == len(files) - 3


def test_batches_cross_file_borders(tmp_path: Path) -> None:
    files = [sound_file(tmp_path / f"{i}.wav", 1, i) for i in range(20)]
    model = FakeModel(batch_size=8)
    assert sum(len(e.start_samples) for e in EmbedPipeline(model, RULE).run(files) if isinstance(e, Rows)) == 20
    assert model.calls == [8, 8, 4]


@pytest.mark.parametrize("top_k", [0, 1, CLASSES, CLASSES + 5])
def test_top_k(tmp_path: Path, top_k: int) -> None:
    files = [sound_file(tmp_path / "a.wav", 3, 1)]
    rows = [e for e in EmbedPipeline(FakeModel(), RULE, top_k=top_k).run(files) if isinstance(e, Rows)]
    kept = {None if r.top_index is None else r.top_index.shape[1] for r in rows}
    assert kept == {min(top_k, CLASSES) or None}


def test_no_files() -> None:
    model = FakeModel()
    assert list(EmbedPipeline(model, RULE).run([])) == []
    assert model.calls == []


def test_channels(tmp_path: Path) -> None:
    left = np.random.default_rng(1).uniform(-0.5, 0.5, WINDOW).astype(np.float32)
    sf.write(tmp_path / "stereo.wav", np.stack([left, np.zeros_like(left)], axis=1), 16_000, subtype="FLOAT")

    def first_sample(channels: str) -> float:
        events = EmbedPipeline(FakeModel(), RULE, channels=channels).run([AudioFile(str(tmp_path / "stereo.wav"))])  # type: ignore[arg-type]
        return next(float(e.embeddings[0, 0]) for e in events if isinstance(e, Rows))

    assert first_sample("first") == left[0]
    assert first_sample("mean") == left[0] / 2
