"""Makes ``golden/hoplite`` with the real perch-hoplite package, faults that its users meet included.

Not run by the tests: the package is no dependency. The database in the repository was made with perch-hoplite 1.0.2 and
usearch 2.26.6, so::

    uv venv hoplite --python 3.11
    uv pip install --python hoplite/bin/python 'perch-hoplite[tf]==1.0.2'
    hoplite/bin/python tests/imports/make_hoplite.py tests/imports/golden/hoplite
"""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
import sys

import numpy as np

DIM = 1536
WINDOW_S = 5.0


def vector(filename: str, start_s: float, variant: int = 0) -> np.ndarray:
    """A window's vector, float16, from its place alone."""
    digest = hashlib.blake2b(f"{filename}|{start_s:g}|{variant}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    return (0.1 * rng.standard_normal(DIM)).astype(np.float16)


def main(folder: str) -> None:
    from ml_collections import config_dict
    from perch_hoplite.agile import embed
    from perch_hoplite.db import datatypes, db_loader, sqlite_usearch_impl
    from perch_hoplite.zoo import model_configs

    shutil.rmtree(folder, ignore_errors=True)
    db = db_loader.create_new_usearch_db(db_path=folder, embedding_dim=DIM)
    preset = model_configs.get_preset_model_config("perch_v2_cpu")
    config = embed.ModelConfig(preset.model_key, preset.embedding_dim, preset.model_config)
    db.insert_metadata("model_config", config.to_config_dict())
    db.insert_metadata("audio_sources", config_dict.ConfigDict({"audio_globs": ()}))

    def add(recording: int, filename: str, starts: list[float], variant: int = 0) -> None:
        windows = [{"recording_id": recording, "offsets": [s, s + WINDOW_S]} for s in starts]
        vectors = np.stack([vector(filename, s, variant) for s in starts])
        db.insert_windows_batch(windows, vectors, handle_duplicates="allow")

    a4 = db.insert_deployment("A4", "wood", latitude=51.7743, longitude=-1.3378)
    b1 = db.insert_deployment("B1", "wood", latitude=51.7712, longitude=-1.3301)
    first = db.insert_recording("A4/20250510_030000.wav", dt.datetime(2025, 5, 10, 3, 0), a4)
    second = db.insert_recording("A4/20250510_040000.wav", None, a4)
    third = db.insert_recording("B1/20250510_030000.wav", None, b1)
    add(first, "A4/20250510_030000.wav", [0.0, 5.0, 10.0, 15.0])
    add(second, "A4/20250510_040000.wav", [0.0, 5.0, 10.0])
    add(third, "B1/20250510_030000.wav", [0.0, 5.0])
    # Every one of these is a thing that the package lets happen.
    add(second, "A4/20250510_040000.wav", [5.0])  # twice, the same
    add(third, "B1/20250510_030000.wav", [0.0], variant=1)  # twice, another vector
    db.insert_window(third, [10.0, 15.0], None, handle_duplicates="allow")  # no vector
    for _ in range(2):  # no deployment: nothing keeps the same name from being there twice
        loose = db.insert_recording("C2/20250511_030000.wav", None, None)
        add(loose, "C2/20250511_030000.wav", [0.0, 5.0])
    db.insert_recording("B1/20250510_050000.wav", None, b1)  # its file could not be decoded
    gone = db.insert_recording("B1/20250512_030000.wav", None, b1)
    add(gone, "B1/20250512_030000.wav", [0.0, 5.0])
    kind = datatypes.LabelType
    db.insert_annotation(first, [0.0, 5.0], "turmer", kind.POSITIVE, "ana")
    db.insert_annotation(first, [5.0, 10.0], "turmer", kind.NEGATIVE, "ana")
    db.insert_annotation(second, [2.5, 4.25], "eurrob1", kind.UNCERTAIN, "model:agile_v1")
    db.insert_annotation(third, [0.0, 5.0], "Turdus merula", kind.POSITIVE, "")
    db.commit()
    db.db.close()

    db = sqlite_usearch_impl.SQLiteUSearchDB.create(folder)  # reopened: foreign keys are not enforced any more
    db.remove_recording(gone)
    db.commit()
    db.db.close()


if __name__ == "__main__":
    main(sys.argv[1])
