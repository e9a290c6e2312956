"""``python -m benchmarks.standin [FOLDER]``: build the stand-in, and say what is there."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.standin.build import FOLDER, ensure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standin", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--no-saved-model", action="store_true", help="ONNX files only: needs no TensorFlow")
    asked = parser.parse_args()
    made = ensure(asked.folder, saved_model=not asked.no_saved_model)
    for path in sorted(made.folder.iterdir()):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        print(f"{sum(file.stat().st_size for file in files):>13,}  {path}")


if __name__ == "__main__":
    main()
