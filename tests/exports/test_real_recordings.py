"""The whole way with field recordings and a real model, where they are there."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from embedder.audio import BlockReader
from embedder.models import weights_status
from search_api.exports import ExportOptions
from sonotheque.core.filters import SearchFilter
from store import open_archive
from store.formats.raven import ENDING
from tests.cluster.support import run
from tests.exports import kit
from tests.exports.kit import export

RECORDINGS = Path(os.environ.get("SONOTHEQUE_RECORDINGS", Path(__file__).parents[3] / "shared" / "recordings"))
FOLDERS = ("codecs", "cuckoo_stereo", "odd", "audiomoth_urban")

pytestmark = [
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no field recordings here (SONOTHEQUE_RECORDINGS)"),
    pytest.mark.skipif(not weights_status("birdnet_v2.4").present, reason="BirdNET's weights are not installed"),
]


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    source = folder / "recordings"
    source.mkdir()
    for name in FOLDERS:
        (source / name).symlink_to(RECORDINGS / name)
    store = folder / "store"
    run(
        RECORDINGS,
        store,
        sources=tuple(str(RECORDINGS / n) for n in FOLDERS),
        model="birdnet_v2.4",
        timezone="Europe/Paris",
    )
    return str(store)


def test_the_combined_table_fits_the_files_as_a_decoder_measures_them(field, tmp_path):
    """Lengths from a decoder of our own choice, not from the store; files without a detection in between."""
    where = SearchFilter(label="Common Cuckoo", score_min=0.3)
    export(field, "predictions", "raven-combined", tmp_path / "a.txt", ExportOptions(where=where))
    table = kit.tabbed(tmp_path / "a.txt")
    files = (tmp_path / "a.files.txt").read_text(encoding="utf-8").split("\n")[:-1]

    def seconds(path):
        with BlockReader(path) as reader:
            return sum(len(block) for block in reader) / reader.sample_rate_hz

    lengths = [seconds(path) for path in files]
    assert len(files) > len({r["Begin Path"] for r in table}) >= 2
    assert {r["Common Name"] for r in table} == {"Common Cuckoo"}
    for row in table:
        at = files.index(row["Begin Path"])
        begin, end, offset = (float(row[c]) for c in ("Begin Time (s)", "End Time (s)", "File Offset (s)"))
        assert begin - math.fsum(lengths[:at]) == pytest.approx(offset, abs=1e-5)
        assert end <= math.fsum(lengths[: at + 1]) + 1e-5


def test_tables_and_clips_of_real_recordings(field, tmp_path):
    where = SearchFilter(score_min=0.5, rank_max=1)
    with open_archive(field) as archive:
        expected = archive.predictions(where).num_rows
    assert expected > 10
    assert export(field, "predictions", "raven", tmp_path / "t", ExportOptions(where=where)).rows == expected
    names = [p.name.removesuffix(ENDING) for p in (tmp_path / "t" / "codecs").glob(f"*{ENDING}")]
    assert len(names) == len(set(names))
    summary = export(field, "clips", "flac", tmp_path / "c", ExportOptions(where=where, margin_s=0.5))
    assert (summary.rows, summary.failures) == (expected, [])
    for row in kit.read_csv(tmp_path / "c" / "clips.csv"):
        clip, rate = sf.read(tmp_path / "c" / row["clip"], always_2d=True)
        with BlockReader(str(RECORDINGS / row["path"])) as reader:
            whole = np.concatenate([block.copy() for block in reader])
        begin = round(float(row["clip_start_s"]) * rate)
        assert np.allclose(clip.mean(axis=1), whole[begin : begin + len(clip)].clip(-1, 1), atol=1e-4)
