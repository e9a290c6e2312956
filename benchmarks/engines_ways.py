"""Which ways to run a model are measured: this program's, engine by precision, and beside them what people use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.engines_child import NO_DELEGATE, OURS, WHOLE
from benchmarks.standin import StandIn
from embedder.choosing.candidates import INT8, candidates
from embedder.engines import refusal

PERCH, BIRDNET = "perch_v2", "birdnet_v2.4"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a model.

    Attributes
    ----------
    key, title : str
        Short name; what it is, for people.
    model : str
    weights : str or None
    engine, precision : str
    how : str
        ``ours``: as the program runs it; ``whole``: the published graph as it is; ``no delegate``.
    outputs : tuple of bool
        What is timed: without the labels (False), with them (True). A whole graph cannot leave them out.
    refusal : str
        Why it is not here; may be empty.
    """

    key: str
    title: str
    model: str
    weights: str | None
    engine: str
    precision: str
    how: str = OURS
    outputs: tuple[bool, ...] = (False, True)
    refusal: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is how the program runs the model."""
        return self.how == OURS and self.engine != "tensorflow"

    @property
    def labels(self) -> bool:
        """Whether it can give logits."""
        return True in self.outputs


def ways(model: str, standin: StandIn | None, *, int8: bool) -> list[Way]:
    """Return all ways of a model, the reference first.

    Parameters
    ----------
    model : str
    standin : StandIn or None
        Of Perch 2, whose weights it stands for.
    int8 : bool
        Whether int8 is measured, which is quantised first: half a minute, once a machine. Of Perch 2 without its head.
    """
    if standin is not None:
        return [*_perch_beside(standin), *_ours(model, str(standin.onnx.resolve()), int8=int8)]
    if model == BIRDNET:
        return [*_birdnet_beside(), *_ours(model, None, int8=int8)]
    return list(_ours(model, None, int8=int8))


def _ours(model: str, weights: str | None, *, int8: bool) -> Sequence[Way]:
    found = []
    for one in candidates(model, weights, int8=int8):
        outputs = (False,) if one.precision == INT8 else (False, True)
        key = f"{one.engine}-{one.precision}"
        found.append(
            Way(key, one.name, model, weights, one.engine, one.precision, outputs=outputs, refusal=one.refusal)
        )
    return found


def _perch_beside(standin: StandIn) -> list[Way]:
    whole, bare = str(standin.onnx.resolve()), str(standin.onnx_no_dft_embedding.resolve())
    found = [
        Way(
            "whole-onnx",
            "ONNX Runtime, the published graph whole",
            PERCH,
            whole,
            "onnx",
            "fp32",
            WHOLE,
            (True,),
            refusal("onnx", "fp32"),
        )
    ]
    if standin.saved_model.exists():
        found.append(
            Way(
                "tensorflow",
                "TensorFlow, the SavedModel",
                PERCH,
                str(standin.saved_model.resolve()),
                "tensorflow",
                "fp32",
                OURS,
                (True,),
                refusal("tensorflow", "fp32"),
            )
        )
    for precision in ("fp32", "bf16"):
        title = f"OpenVINO {precision}, the DFT-free embedding graph whole: its front end is a matrix product"
        refused = refusal("openvino", precision)
        found.append(
            Way(f"whole-openvino-{precision}", title, PERCH, bare, "openvino", precision, WHOLE, (False,), refused)
        )
    return found


def _birdnet_beside() -> list[Way]:
    refused = refusal("litert", "fp32")
    return [
        Way(
            "whole-litert",
            "LiteRT with XNNPACK, the published graph whole",
            BIRDNET,
            None,
            "litert",
            "fp32",
            WHOLE,
            (True,),
            refused,
        ),
        Way(
            "no-delegate",
            "the birdnet package's interpreter: no delegate, one window at a time",
            BIRDNET,
            None,
            "litert",
            "fp32",
            NO_DELEGATE,
            (True,),
            refused,
        ),
    ]
