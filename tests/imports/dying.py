"""A process that imports and is killed, with SIGKILL, at the Nth operation on the store's files. Run by ``test_resume``.

``python -m tests.imports.dying KIND SOURCE STORE MODEL N WHEN``: ``WHEN`` is ``before`` or ``after`` the operation; N = 0: it lives.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from cluster.imports.options import ImportOptions
from cluster.imports.run import import_into_store
from store.fsops import LocalFileOps

_OPERATIONS = ("makedirs", "create", "sync_file", "link_new", "sync_dir", "unlink")


def main(kind: str, source: str, store: str, model: str, nth: str, when: str) -> None:
    left = int(nth)

    def wrap(name: str) -> Any:
        inner = getattr(LocalFileOps, name)

        def operation(self: LocalFileOps, *given: Any) -> Any:
            nonlocal left
            left -= 1
            its_turn = left == 0  # operations call each other
            if its_turn and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            found = inner(self, *given)
            if its_turn:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return operation

    for name in _OPERATIONS:
        setattr(LocalFileOps, name, wrap(name))
    import_into_store(ImportOptions(kind, source, store, model=None if model == "-" else model))
    sys.stdout.write(f"operations {int(nth) - left}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
