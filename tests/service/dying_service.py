"""A service in a process of its own, to be killed: ``python -m tests.service.dying_service STORE STATE``.

It does what is said on its standard input, a line each, and answers with a line.
"""

from __future__ import annotations

import json
import sys

from search_api.annotations import add_annotation
from search_api.boards import Board


def main(store: str, state: str) -> None:
    board = Board(store, state)
    board.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        if "train" in asked:
            answer = board.train(probe=asked["train"], experiment=asked["experiment"]).job_id
        else:
            made = add_annotation(store, asked["path"], 0.0, 2.0, asked["label"], annotator="Ben")
            answer = json.dumps(sorted(made))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
