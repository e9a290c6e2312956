"""Where graphs are cut: the tensors are found whatever they are called, and what does not fit is refused with both values."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")

from embedder.models import model_info
from embedder.models.onnx_plan import PLAN_VERSION, OnnxPlan, make_plan, plan_of
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.ids import file_sha256
from tests.models.onnx_kit import BANDS, Net, birdnet_like, perch_like

PERCH_1, PERCH_2, BIRDNET = (model_info(name) for name in ("perch_v1", "perch_v2", "birdnet_v2.4"))


def refusal(path: Path, info: Any = PERCH_1) -> str:
    with pytest.raises(Invalid) as caught:
        make_plan(path, info)
    assert caught.value.kind == "invalid_weights"
    return caught.value.message


class TestTheStandIn:
    def test_everything_is_found(self, small_standin: Any) -> None:
        plan = make_plan(small_standin.onnx, PERCH_2)
        assert (plan.input, plan.rows, plan.embedding, plan.label, plan.n_classes) == (
            "inputs",
            0,
            "embedding",
            "label",
            20,
        )
        assert plan.outputs == ("embedding", "spatial_embedding", "spectrogram", "label")
        assert len(plan.head_inputs) == 1
        assert plan.head_inputs[0] not in plan.outputs  # the cells before they are turned round: channels first
        assert plan.has_fourier

    def test_every_tensor_of_the_spectrograms_shape_that_all_hangs_on(self, small_standin: Any) -> None:
        found = make_plan(small_standin.onnx, PERCH_2).spectrograms
        assert ("spectrogram", (500, 128)) in found
        assert found[-1][1] == (1, 500, 128)  # as the first convolution takes it
        assert len({name for name, _ in found}) == len(found)

    def test_without_a_head(self, small_standin: Any) -> None:
        plan = make_plan(small_standin.onnx_no_dft_embedding, PERCH_2)
        assert (plan.label, plan.n_classes, plan.head_inputs) == ("", 0, ())
        assert plan.spectrograms
        assert not plan.has_fourier

    def test_a_spectrogram_that_is_only_looked_at_is_no_place_to_cut(self, tmp_path: Path) -> None:
        """An output of the right shape that the embedding does not pass through."""
        net = Net(160_000)
        cut = net.node("Reshape", "inputs", net.weight(np.array([-1, 500, 320], np.int64)))
        net.dense(cut, 320, 128, out="spectrogram")
        net.dense(net.bands(), BANDS, 1536, out="embedding")
        path = net.save(tmp_path / "x.onnx", {"embedding": [1536], "spectrogram": [500, 128]})
        plan = make_plan(path, PERCH_2)
        assert plan.spectrograms == ()
        assert plan.expects_spectrogram

    def test_the_other_models_have_no_such_spectrogram(self, small_standin: Any) -> None:
        plan = make_plan(small_standin.onnx, dataclasses.replace(PERCH_2, name="perch_v1"))
        assert plan.spectrograms == ()
        assert not plan.expects_spectrogram


class TestOutputs:
    def test_by_name(self, tmp_path: Path) -> None:
        plan = make_plan(perch_like(tmp_path / "x.onnx", dim=33, classes=9), PERCH_1)
        assert (plan.embedding, plan.label, plan.n_classes, plan.head_inputs) == (
            "embedding",
            "label",
            9,
            ("embedding",),
        )

    def test_by_length(self, tmp_path: Path) -> None:
        plan = make_plan(birdnet_like(tmp_path / "x.onnx", embedding=True), BIRDNET)
        assert (plan.input, plan.embedding, plan.label, plan.n_classes) == ("INPUT", "features", "logits", 6522)
        assert plan.head_inputs != ("features",)  # a copy of it: the head hangs on what it was copied from

    def test_an_inner_embedding_is_found_by_its_length(self, tmp_path: Path) -> None:
        plan = make_plan(birdnet_like(tmp_path / "x.onnx"), BIRDNET)
        assert plan.embedding.startswith("relu")
        assert plan.embedding not in plan.outputs
        assert plan.head_inputs == (plan.embedding,)

    def test_scores_are_taken_before_their_sigmoid(self, tmp_path: Path) -> None:
        plan = make_plan(birdnet_like(tmp_path / "x.onnx", sigmoid=True), BIRDNET)
        assert plan.label.startswith("matmul")
        assert (plan.outputs, plan.n_classes) == (("logits",), 6522)

    @pytest.mark.parametrize(
        "steps", [("Identity",), ("Cast", "Identity"), ("Reshape",), ("Flatten",), ("Reshape", "Squeeze")]
    )
    def test_scores_that_are_handed_on_are_taken_before_their_sigmoid_too(
        self, tmp_path: Path, steps: tuple[str, ...]
    ) -> None:
        plan = make_plan(self.ending(tmp_path, "Sigmoid", steps), PERCH_1)
        assert plan.label.startswith("matmul")
        assert (plan.outputs, plan.n_classes) == (("embedding", "label"), 6)

    @pytest.mark.parametrize("steps", [(), ("Identity",), ("Cast", "Reshape")])
    def test_shares_of_one_are_no_logits(self, tmp_path: Path, steps: tuple[str, ...]) -> None:
        said = refusal(self.ending(tmp_path, "Softmax", steps))
        assert "gives probabilities, logits are needed" in said
        assert "label (?, 6)" in said

    def test_scores_whose_logits_are_no_matrix_are_refused(self, tmp_path: Path) -> None:
        """Taken as they are they would be stored as logits."""
        said = refusal(self.ending(tmp_path, "Sigmoid", ("Squeeze",), axes=3))
        assert "logits are needed" in said
        assert "(?, 6, 1)" in said

    @pytest.mark.parametrize("steps", [("Identity",), ("Cast", "Reshape")])
    def test_logits_that_are_handed_on_stay_what_they_are(self, tmp_path: Path, steps: tuple[str, ...]) -> None:
        assert make_plan(self.ending(tmp_path, "Neg", steps), PERCH_1).label == "label"

    def ending(self, folder: Path, last: str, steps: tuple[str, ...], *, axes: int = 2) -> Path:
        """Perch 1 with 6 classes, whose logits go through an operation and then through steps that keep the numbers."""
        net = Net(160_000)
        at = net.dense(net.dense(net.bands(), BANDS, 1280, out="embedding"), 1280, 6)
        if axes == 3:
            at = net.node("Unsqueeze", at, net.weight(np.array([2], np.int64)))
        at = net.node(last, at, out="" if steps else "label")
        shape = [-1, 6, 1] if "Squeeze" in steps else [-1, 6]
        extra = {"Reshape": np.array(shape, np.int64), "Squeeze": np.array([2], np.int64)}
        for step in steps:
            more = [net.weight(extra[step])] if step in extra else []
            options = {"to": 1} if step == "Cast" else {}
            at = net.node(step, at, *more, out="label" if step == steps[-1] else "", **options)
        return net.save(folder / "x.onnx", {"embedding": [1280], "label": [6]})

    def test_an_embedding_alone_may_have_any_length(self, tmp_path: Path) -> None:
        net = Net(160_000)
        net.dense(net.bands(), BANDS, 77, out="vector")
        plan = make_plan(net.save(tmp_path / "x.onnx", {"vector": [77]}), PERCH_1)
        assert (plan.embedding, plan.label) == ("vector", "")

    def test_one_output_of_other_classes_than_the_published(self, tmp_path: Path) -> None:
        """It is not the embedding: a tensor of the embedding's length lies behind it."""
        plan = make_plan(birdnet_like(tmp_path / "x.onnx", classes=9), BIRDNET)
        assert plan.embedding.startswith("relu")
        assert (plan.label, plan.n_classes) == ("logits", 9)

    def test_two_matrices_of_which_one_is_the_embedding(self, tmp_path: Path) -> None:
        """A model fine-tuned on classes of one's own."""
        net = Net(160_000)
        features = net.dense(net.bands(), BANDS, 1280, out="features")
        net.dense(features, 1280, 5, out="mine")
        plan = make_plan(net.save(tmp_path / "x.onnx", {"mine": [5], "features": [1280]}), PERCH_1)
        assert (plan.embedding, plan.label, plan.n_classes) == ("features", "mine", 5)

    def test_logits_on_the_way_to_the_embedding(self, tmp_path: Path) -> None:
        net = Net(160_000)
        label = net.dense(net.bands(), BANDS, 6, out="label")
        net.dense(label, 6, 1280, out="embedding")
        plan = make_plan(net.save(tmp_path / "x.onnx", {"embedding": [1280], "label": [6]}), PERCH_1)
        assert plan.head_inputs == ("label",)

    def test_a_head_that_takes_two_tensors(self, tmp_path: Path) -> None:
        net = Net(160_000)
        bands = net.bands()
        features = net.dense(bands, BANDS, 1280, out="embedding")
        net.node("Add", net.dense(features, 1280, 6), net.dense(bands, BANDS, 6), out="label")
        plan = make_plan(net.save(tmp_path / "x.onnx", {"embedding": [1280], "label": [6]}), PERCH_1)
        assert set(plan.head_inputs) == {bands, "embedding"}

    def test_no_embedding_names_what_there_is(self, tmp_path: Path) -> None:
        net = Net(160_000)
        net.dense(net.bands(), BANDS, 10_932, out="label")
        said = refusal(net.save(tmp_path / "x.onnx", {"label": [10_932]}))
        assert "label (?, 10932)" in said
        assert "1280" in said


class TestInputs:
    def test_any_name_and_a_fixed_batch(self, tmp_path: Path) -> None:
        assert make_plan(perch_like(tmp_path / "x.onnx", rows=3), PERCH_1).rows == 3

    def test_windows_of_another_length_name_both(self, tmp_path: Path) -> None:
        said = refusal(birdnet_like(tmp_path / "x.onnx"))
        assert "INPUT (?, 144000)" in said
        assert "160000" in said

    def test_a_third_axis(self, tmp_path: Path) -> None:
        net = Net(160_000, axes=3)
        net.dense(net.bands(), BANDS, 1280, out="embedding")
        assert "(?, 1, 160000)" in refusal(net.save(tmp_path / "x.onnx", {"embedding": [1280]}))

    @pytest.mark.parametrize("content", [b"", b"\x08\x07", b"not an onnx file", b"\x08\x0a" + bytes(range(256))])
    def test_no_onnx_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.onnx").write_bytes(content)
        assert "x.onnx" in refusal(tmp_path / "x.onnx")

    @pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
    def test_cut_short(self, tmp_path: Path, share: float) -> None:
        path = perch_like(tmp_path / "x.onnx")
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        assert "x.onnx" in refusal(path)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            make_plan(tmp_path / "x.onnx", PERCH_1)


class TestKept:
    def test_it_is_made_once_and_is_the_same(self, small_standin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        digest = file_sha256(small_standin.onnx)
        first = plan_of(small_standin.onnx, digest, PERCH_2)
        assert first == make_plan(small_standin.onnx, PERCH_2)
        monkeypatch.setattr("embedder.models.onnx_plan.make_plan", None)  # calling it would fail
        assert plan_of(small_standin.onnx, digest, PERCH_2) == first

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "null", '{"version": 0}', f'{{"version": {PLAN_VERSION}, "input": "x"}}']
    )
    def test_what_is_no_plan_is_made_anew(self, tmp_path: Path, own_cache: Path, text: str) -> None:
        assert OnnxPlan.from_json(text) is None
        path = perch_like(tmp_path / "x.onnx", dim=12, classes=3)
        digest = file_sha256(path)
        plan = plan_of(path, digest, PERCH_1)
        kept = list((own_cache / "graphs").glob(f"{digest[:16]}-*.plan.json"))
        assert len(kept) == 1
        kept[0].write_text(text)
        assert plan_of(path, digest, PERCH_1) == plan
        assert OnnxPlan.from_json(kept[0].read_text()) == plan  # and kept, so that the next need not

    def test_json_gives_it_back(self, small_standin: Any) -> None:
        plan = make_plan(small_standin.onnx, PERCH_2)
        assert OnnxPlan.from_json(plan.to_json()) == plan
