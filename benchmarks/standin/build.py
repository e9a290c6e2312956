"""Building the stand-in's files: four ONNX files named as the published ones, the SavedModel folder, the class list."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.standin.architecture import PERCH_2, Architecture
from benchmarks.standin.calibrate import make_weights
from benchmarks.standin.ops import Weights
from benchmarks.standin.ops_onnx import onnx_model

FOLDER = Path(".bench/standin")
SEED = 20250510
NOTE = "Random weights: for speed and size only, never for quality.\n"
NAMESPACE = "inat2024_fsd50k"


@dataclass(frozen=True, slots=True)
class StandIn:
    """Where the files are.

    Attributes
    ----------
    folder : Path
    onnx : Path
        All four outputs, with the DFT operator.
    onnx_no_dft : Path
        All four outputs; the transform is a product of matrices, for engines without the operator.
    onnx_embedding, onnx_no_dft_embedding : Path
        The output ``embedding`` alone.
    labels : Path
        Class list, a header and a name a line.
    saved_model : Path
        SavedModel folder with its own copy of the list; not there if it was not asked for.
    """

    folder: Path
    onnx: Path
    onnx_no_dft: Path
    onnx_embedding: Path
    onnx_no_dft_embedding: Path
    labels: Path
    saved_model: Path

    @classmethod
    def at(cls, folder: Path) -> StandIn:
        """Return the paths in a folder, whether there is anything or not."""
        return cls(
            folder=folder,
            onnx=folder / "perch_v2.onnx",
            onnx_no_dft=folder / "perch_v2_no_dft.onnx",
            onnx_embedding=folder / "perch_v2_embedding_only.onnx",
            onnx_no_dft_embedding=folder / "perch_v2_no_dft_embedding_only.onnx",
            labels=folder / "labels.csv",
            saved_model=folder / "perch_v2",
        )


def ensure(
    folder: Path = FOLDER, *, saved_model: bool = True, arch: Architecture = PERCH_2, seed: int = SEED
) -> StandIn:
    """Build what is missing, and return where everything is.

    A file that is there is left alone, of whatever size and seed it is. Each appears complete or not at all.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    saved_model : bool
        Also the SavedModel, for which TensorFlow is needed.
    arch : Architecture
    seed : int
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = StandIn.at(folder)
    weights = cache(lambda: make_weights(arch, seed))  # half a minute, and only if something is missing
    names = _class_list(arch.classes)
    _text(folder / "STANDIN.txt", NOTE)
    _text(paths.labels, names)
    _onnx(paths.onnx_no_dft, weights, arch, dft=False, label=True)
    _onnx(paths.onnx, weights, arch, dft=True, label=True)
    _onnx(paths.onnx_no_dft_embedding, weights, arch, dft=False, label=False)
    _onnx(paths.onnx_embedding, weights, arch, dft=True, label=False)
    if saved_model and not paths.saved_model.exists():
        from benchmarks.standin.ops_tensorflow import save_model

        with _in_one_step(paths.saved_model) as made:
            save_model(weights(), arch, made)
            (made / "assets").mkdir(exist_ok=True)
            (made / "assets" / "labels.csv").write_text(names, encoding="utf-8")
    return paths


def _class_list(count: int) -> str:
    return "".join(f"{name}\n" for name in (NAMESPACE, *(f"Standinus species{i:05d}" for i in range(count))))


def _text(path: Path, text: str) -> None:
    if not path.exists():
        with _in_one_step(path) as made:
            made.write_text(text, encoding="utf-8")


def _onnx(path: Path, weights: Callable[[], Weights], arch: Architecture, *, dft: bool, label: bool) -> None:
    if not path.exists():
        with _in_one_step(path) as made:
            made.write_bytes(onnx_model(weights(), arch, NOTE.strip(), dft=dft, label=label).SerializeToString())


@contextmanager
def _in_one_step(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path``; what is written there gets its own name at the end, unless another was faster."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield made
        if made.is_dir() and path.exists():
            return
        made.rename(path)
    finally:
        if made.is_dir():
            shutil.rmtree(made)
        else:
            made.unlink(missing_ok=True)
