"""The ONNX files that are published for the models here: where they are, and by what hash they are known.

Perch 2 itself is published as a TensorFlow SavedModel which is a StableHLO export: one opaque operator holds the network, and
the usual TensorFlow to ONNX converters do not take it. Others have converted it; these are their files. A hash or a size is in
the table only where it has been published or measured; a file of which neither is known is taken, and its hash is told.
"""

from __future__ import annotations

from dataclasses import dataclass

LABELS_FILE = "labels.csv"


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a repository on Hugging Face.

    Attributes
    ----------
    repository, file : str
        ``OWNER/NAME``, and the path in it.
    model : str
        Registry name of the model it holds.
    sha256 : str
        Hex digest; empty if not known.
    n_bytes : int
        Size; 0 if not known.
    holds : str
        What is in it, for people.
    """

    repository: str
    file: str
    model: str
    sha256: str
    n_bytes: int
    holds: str

    @property
    def address(self) -> str:
        """How ``--weights`` names it: ``hf:OWNER/NAME/FILE``."""
        return f"hf:{self.repository}/{self.file}"


_FULL_SHA256 = "bf0c8467a924cb074663970ca4a0ab1e143602121930209657d0dff5d5cefa1f"
_EVERYTHING = "embedding, cells, spectrogram and the logits of 14,795 classes"

PUBLISHED: tuple[PublishedFile, ...] = (
    PublishedFile(
        "justinchuby/Perch-onnx",
        "perch_v2.onnx",
        "perch_v2",
        _FULL_SHA256,
        409_148_616,
        f"{_EVERYTHING}; spectrum by the DFT operator",
    ),
    PublishedFile(
        "Calotriton/perch-v2-onnx",
        "perch_v2.onnx",
        "perch_v2",
        _FULL_SHA256,
        409_148_616,
        f"{_EVERYTHING}; a mirror of justinchuby/Perch-onnx",
    ),
    PublishedFile(
        "justinchuby/Perch-onnx",
        "perch_v2_no_dft.onnx",
        "perch_v2",
        "",
        413_350_933,
        f"{_EVERYTHING}; spectrum by a product of matrices",
    ),
    PublishedFile(
        "tphakala/Perch-v2-Models",
        "perch_v2_no_dft_fp32.onnx",
        "perch_v2",
        "4dcf71c18a147198545944bb5149697e89e3ad2e16637fa8f0edf6d13035a017",
        0,
        f"{_EVERYTHING}; spectrum by a product of matrices",
    ),
    PublishedFile(
        "sammlapp/Perch_v2_headless",
        "perch_v2_embedding_only.onnx",
        "perch_v2",
        "",
        0,
        "the embedding alone (45 MB), no classes; spectrum by the DFT operator",
    ),
    PublishedFile(
        "sammlapp/Perch_v2_headless",
        "perch_v2_no_dft_embedding_only.onnx",
        "perch_v2",
        "",
        0,
        "the embedding alone (49 MB), no classes; spectrum by a product of matrices",
    ),
)

# The class list that belongs to all of them: a header, then 14,795 names in logit order.
LABELS = PublishedFile(
    "sammlapp/Perch_v2_headless",
    LABELS_FILE,
    "perch_v2",
    "e4d5c0397d8fb08bf90c6b13a34810af53504faad927e472fcc567793c9de057",
    0,
    "the class list of Perch 2",
)

# The one to name where a message has room for one.
RECOMMENDED = PUBLISHED[0]


def published_at(repository: str, file: str) -> PublishedFile | None:
    """Return what is known of a repository's file, or None."""
    return next((one for one in (*PUBLISHED, LABELS) if (one.repository, one.file) == (repository, file)), None)


def published_as(sha256: str) -> PublishedFile | None:
    """Return the published file with this hash (the first of them, where there are mirrors), or None."""
    return next((one for one in (*PUBLISHED, LABELS) if one.sha256 and one.sha256 == sha256), None)
