"""BirdNET's file taken apart: the parts against the whole, the front end against the file's own, and other layouts."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedder.engines import open_network
from embedder.models import model_info
from embedder.models.birdnet import load_birdnet
from embedder.models.birdnet_graph import TfliteGraph, UnknownLayout, cut, graft, pack, read_graph, shape_of
from embedder.models.birdnet_layout import CONCAT_TENSOR, FrontEndFacts, read_front_end
from embedder.models.birdnet_parts import (
    SPECTROGRAM_TOLERANCE,
    Parts,
    check_windows,
    open_own_front_end,
    spectrogram_difference,
    split,
)
from embedder.models.birdnet_weights import LABELS_FILE, find_weights
from sonotheque.core.errors import Invalid

from .conftest import birdnet_missing

pytestmark = pytest.mark.skipif(bool(birdnet_missing()), reason=birdnet_missing() or "never")

WINDOW_SAMPLES = 144_000
WEIGHTS_TENSOR, BIAS_TENSOR = 164, 142  # of the last layer


@pytest.fixture(scope="module")
def graph() -> TfliteGraph:
    return read_graph(find_weights().model)


@pytest.fixture(scope="module")
def facts(graph: TfliteGraph) -> FrontEndFacts:
    return read_front_end(graph)


@pytest.fixture(scope="module")
def parts(graph: TfliteGraph) -> Parts:
    return split(graph, WINDOW_SAMPLES, verify=True)


def changed(change: Callable[[Any, Any], None]) -> TfliteGraph:
    """Return the graph after ``change(model, subgraph)``, parsed anew so that no other test sees it."""
    graph = read_graph(find_weights().model)
    change(graph.model, graph.subgraph)
    return graph


def maker(graph: TfliteGraph, kind: str, nth: int = 0) -> Any:
    """Return the nth operator of a kind."""
    return graph.subgraph.operators[[at for at, found in enumerate(graph.kinds) if found == kind][nth]]


def overwrite(model: Any, tensor: int, values: Any) -> None:
    """Put other numbers into a constant."""
    facts = model.subgraphs[0].tensors[tensor]
    buffer = model.buffers[facts.buffer] = copy.copy(model.buffers[facts.buffer])
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8)


class TestParts:
    def test_the_constants_are_those_of_the_published_file(self, facts: FrontEndFacts) -> None:
        assert [(len(band.window), band.hop_samples) for band in facts.bands] == [(2048, 278), (1024, 280)]
        assert [band.filters.shape for band in facts.bands] == [(96, 1025), (96, 513)]
        assert [band.exponent for band in facts.bands] == pytest.approx([0.22952409, 0.1905273])
        assert (facts.centre, facts.gain) == (0.5, 2.0)
        assert facts.epsilon == pytest.approx(1e-6)
        for band in facts.bands:
            n = len(band.window)
            assert band.window == pytest.approx(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n), abs=1e-6)

    def test_one_after_the_other_they_are_the_whole_to_the_bit(
        self, graph: TfliteGraph, facts: FrontEndFacts, parts: Parts
    ) -> None:
        frames = check_windows(WINDOW_SAMPLES)
        spectrograms = open_own_front_end(graph, facts, WINDOW_SAMPLES).run(frames)[0]
        embeddings = open_network("litert", parts.backbone).run(spectrograms)[0]
        logits = open_network("litert", parts.head).run(embeddings)[0]
        whole = open_network("litert", graft(graph)).run(frames)
        assert np.array_equal(embeddings, whole[0])
        assert np.array_equal(logits, whole[1])

    def test_each_holds_its_own_weights_alone(self, graph: TfliteGraph, parts: Parts) -> None:
        published = len(graph.path.read_bytes())
        dense = np.asarray(graph.constant(WEIGHTS_TENSOR)).nbytes
        assert dense < len(parts.head) < dense + 200_000
        assert len(parts.backbone) < published - dense

    def test_tensors_keep_their_numbers(self, graph: TfliteGraph, parts: Parts) -> None:
        head: Any = open_network("litert", parts.head)
        for tensor in (WEIGHTS_TENSOR, BIAS_TENSOR):
            assert np.array_equal(head.interpreter.get_tensor(tensor), graph.constant(tensor))

    def test_cutting_leaves_the_graph_as_it_was(self, graph: TfliteGraph) -> None:
        before = pack(graph.model)
        split(graph, WINDOW_SAMPLES, verify=False)
        graft(graph)
        assert pack(graph.model) == before

    def test_a_cut_that_the_sound_gets_past_is_refused(self, graph: TfliteGraph, facts: FrontEndFacts) -> None:
        """One of the two channels is not enough: the other still comes from the sound."""
        channel = graph.sources(facts.tensor)[1][0]
        with pytest.raises(UnknownLayout, match="do not separate"):
            cut(graph, {channel: (1, 96, 511, 1)}, [graph.embedding])

    def test_constants_and_computed_tensors_are_told_apart(self, graph: TfliteGraph, facts: FrontEndFacts) -> None:
        assert graph.constant(facts.tensor) is None
        assert graph.sources(graph.input) == ("", [])
        bias = graph.constant(BIAS_TENSOR)
        assert bias is not None
        assert bias.shape == shape_of(graph.subgraph.tensors[BIAS_TENSOR]) == (6522,)


class TestFrontEnd:
    """Ours against the tensor of the published network."""

    def test_on_the_windows_of_the_check(self, graph: TfliteGraph, facts: FrontEndFacts) -> None:
        assert spectrogram_difference(graph, facts, check_windows(WINDOW_SAMPLES)) < SPECTROGRAM_TOLERANCE / 2

    def test_on_real_sound(self, graph: TfliteGraph, facts: FrontEndFacts, soundscape: np.ndarray) -> None:
        frames = soundscape.reshape(-1, WINDOW_SAMPLES)[::4]
        theirs = open_own_front_end(graph, facts, WINDOW_SAMPLES).run(frames)[0]
        ours = facts.outside(WINDOW_SAMPLES)(frames)
        assert ours.shape == theirs.shape == (len(frames), 96, 511, 2)
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() < SPECTROGRAM_TOLERANCE * theirs.max()
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < 1e-5 * theirs.max()

    def test_silence_and_an_offset(self, graph: TfliteGraph, facts: FrontEndFacts) -> None:
        frames = np.stack([np.zeros(WINDOW_SAMPLES), np.full(WINDOW_SAMPLES, -0.25)]).astype(np.float32)
        assert spectrogram_difference(graph, facts, frames) < SPECTROGRAM_TOLERANCE

    def test_other_constants_in_the_file_are_followed(self) -> None:
        def change(model: Any, _: Any) -> None:
            overwrite(model, 165, np.float32(0.31))
            overwrite(model, 150, np.float32(0.5))

        other = changed(change)
        facts = read_front_end(other)
        assert facts.bands[0].exponent == pytest.approx(0.31)
        assert facts.epsilon == 0.5
        assert spectrogram_difference(other, facts, check_windows(WINDOW_SAMPLES)) < SPECTROGRAM_TOLERANCE


def _rename(_: Any, subgraph: Any) -> None:
    next(tensor for tensor in subgraph.tensors if tensor.name == CONCAT_TENSOR.encode()).name = b"spectrograms"


def _turn(model: Any, _: Any) -> None:
    overwrite(model, 156, np.array([0, 1, 2], dtype=np.int32))


def _flip_time(model: Any, _: Any) -> None:
    overwrite(model, 145, np.array([1], dtype=np.int32))


def _lopsided(model: Any, _: Any) -> None:
    overwrite(model, 129, np.linspace(0, 1, 2048, dtype=np.float32))


def _gone(model: Any, subgraph: Any) -> None:
    model.buffers[subgraph.tensors[166].buffer].data = None


def _nothing_of_it(model: Any, subgraph: Any) -> None:
    model.subgraphs = []


def _no_subgraphs(model: Any, subgraph: Any) -> None:
    model.subgraphs = None


def _empty_subgraph(model: Any, subgraph: Any) -> None:
    model.subgraphs = [type(subgraph)()]


def _no_operators(model: Any, subgraph: Any) -> None:
    subgraph.operators = None


def _no_codes(model: Any, subgraph: Any) -> None:
    model.operatorCodes = model.operatorCodes[:1]


def _operator_without_inputs(model: Any, subgraph: Any) -> None:
    subgraph.operators[3].inputs = None


def _output_is_no_tensor(model: Any, subgraph: Any) -> None:
    subgraph.outputs = np.array([len(subgraph.tensors)], dtype=np.int32)


@pytest.mark.parametrize(
    "change",
    [
        _nothing_of_it,
        _no_subgraphs,
        _empty_subgraph,
        _no_operators,
        _no_codes,
        _operator_without_inputs,
        _output_is_no_tensor,
    ],
    ids=lambda f: f.__name__,
)
def test_a_file_that_lacks_a_part_is_invalid(tmp_path: Path, change: Callable[[Any, Any], None]) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(pack(changed(change).model))
    with pytest.raises(Invalid, match=r"broken\.tflite") as caught:
        read_graph(path)
    assert caught.value.kind == "invalid_weights"


def _no_dense_weights(graph: TfliteGraph) -> None:
    op = maker(graph, "FULLY_CONNECTED")
    op.inputs = op.inputs[:1]


def _bad_shape(graph: TfliteGraph) -> None:
    graph.subgraph.tensors[maker(graph, "FULLY_CONNECTED").inputs[1]].shape = np.array([7, 7], dtype=np.int32)


def _no_pieces(graph: TfliteGraph) -> None:
    graph.subgraph.tensors[maker(graph, "GATHER").inputs[0]].shape = None


def _no_buffer(graph: TfliteGraph) -> None:
    graph.subgraph.tensors[maker(graph, "FULLY_CONNECTED").inputs[1]].buffer = len(graph.model.buffers)


def _zero_hop(graph: TfliteGraph) -> None:
    graph.subgraph.tensors[maker(graph, "GATHER").inputs[0]].shape = np.array([1, 1, 0], dtype=np.int32)


class TestOtherLayouts:
    @pytest.mark.parametrize(
        "change", [_no_dense_weights, _bad_shape, _no_pieces, _no_buffer, _zero_hop], ids=lambda f: f.__name__
    )
    def test_a_front_end_that_is_not_whole_is_not_cut(self, change: Callable[[TfliteGraph], None]) -> None:
        other = changed(lambda model, subgraph: None)
        read_front_end(other)
        change(other)
        with pytest.raises(UnknownLayout):
            split(other, WINDOW_SAMPLES, verify=False)

    @pytest.mark.parametrize("error", [RuntimeError("failed to allocate"), ValueError("no such"), Invalid("damaged")])
    def test_a_front_end_that_litert_cannot_run_leaves_the_network_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def broken(*args: Any) -> Any:
            raise error

        monkeypatch.setattr("embedder.models.birdnet_parts.open_own_front_end", broken)
        weights = self.written(tmp_path, lambda model, _: overwrite(model, BIAS_TENSOR, np.zeros(6522, np.float32)))
        model = load_birdnet(model_info("birdnet_v2.4"), weights=weights)
        assert model.front_end is None
        assert "runs whole" in model.note
        assert str(error) in model.note

    @pytest.mark.parametrize("change", [_rename, _turn, _flip_time, _lopsided, _gone], ids=lambda f: f.__name__)
    def test_other_tensors_are_not_cut(self, change: Callable[[Any, Any], None]) -> None:
        with pytest.raises(UnknownLayout):
            split(changed(change), WINDOW_SAMPLES, verify=False)

    @pytest.mark.parametrize("kind", ["RFFT2D", "POW", "REDUCE_MAX", "RANGE", "CONCATENATION", "GATHER", "CAST"])
    def test_another_operator_is_named(self, graph: TfliteGraph, kind: str) -> None:
        kinds = tuple("ABS" if found == kind else found for found in graph.kinds)
        with pytest.raises(UnknownLayout, match=f"ABS, expected {kind}"):
            read_front_end(dataclasses.replace(graph, kinds=kinds))

    def test_spectrograms_of_two_sizes(self, graph: TfliteGraph, facts: FrontEndFacts) -> None:
        short = dataclasses.replace(facts.bands[1], hop_samples=400)
        with pytest.raises(UnknownLayout, match="sizes"):
            dataclasses.replace(facts, bands=(facts.bands[0], short)).outside(WINDOW_SAMPLES)

    def test_what_the_layout_does_not_show_is_found_by_trying(self) -> None:
        """A rectifier fused into the normalisation changes no operator, tensor or constant that is looked at."""
        other = changed(lambda model, subgraph: None)
        facts = read_front_end(other)
        scaled = other.subgraph.operators[other.makers[maker(other, "STRIDED_SLICE").inputs[0]]]
        scaled.builtinOptions.fusedActivationFunction = 1
        assert read_front_end(other).bands[0].hop_samples == facts.bands[0].hop_samples
        split(other, WINDOW_SAMPLES, verify=False)
        with pytest.raises(UnknownLayout, match="spectrograms differ from ours by"):
            split(other, WINDOW_SAMPLES, verify=True)

    def test_such_a_file_runs_whole_and_says_so(self, tmp_path: Path, graph: TfliteGraph) -> None:
        weights = self.written(tmp_path, _rename)
        info = model_info("birdnet_v2.4")
        model = load_birdnet(info, weights=weights)
        assert model.front_end is None
        assert "runs whole" in model.note
        assert CONCAT_TENSOR in model.note
        assert "sha256" in model.note
        reference = load_birdnet(info, whole_graph=True)
        frames = check_windows(WINDOW_SAMPLES)
        found, expected = model.embed(frames), reference.embed(frames)
        assert np.array_equal(found.embeddings, expected.embeddings)
        assert np.array_equal(found.logits, expected.logits)
        assert model.embed(frames, logits=False).logits is None

    def test_such_a_file_is_refused_where_it_cannot_run_whole(self, tmp_path: Path) -> None:
        weights = self.written(tmp_path, _rename)
        with pytest.raises(Invalid, match=r"other\.tflite.*use --engine litert") as caught:
            load_birdnet(model_info("birdnet_v2.4"), weights=weights, engine="openvino")
        assert caught.value.kind == "invalid_weights"

    def test_an_unknown_file_of_the_known_layout_is_cut(self, tmp_path: Path) -> None:
        weights = self.written(tmp_path, lambda model, _: overwrite(model, BIAS_TENSOR, np.zeros(6522, np.float32)))
        model = load_birdnet(model_info("birdnet_v2.4"), weights=weights)
        assert model.front_end is not None
        assert "model (sha256" in model.note
        assert "whole" not in model.note

    def written(self, folder: Path, change: Callable[[Any, Any], None]) -> str:
        shutil.copy(find_weights().labels, folder / LABELS_FILE)
        path = folder / "other.tflite"
        path.write_bytes(pack(changed(change).model))
        return str(path)
