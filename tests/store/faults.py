"""File operations that go wrong on purpose: errors and power cuts at the Nth call, and a disk that forgets."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

from store.fsops import LocalFileOps


class PowerCut(BaseException):
    """The machine stops: no clean-up code may change the disk after it."""


ERRORS = {"eio": errno.EIO, "enospc": errno.ENOSPC}
# `cut`: before the call has its effect; `cut_after` and `eio_after`: the call took effect and its answer was lost.
FAULTS = ("eio", "enospc", "eio_after", "cut", "cut_after")


class FaultyHandle:
    """A file opened by FaultyOps: write and close are steps too, and a write that fails may leave half of its bytes."""

    def __init__(self, ops: FaultyOps, handle: Any) -> None:
        self._ops, self._handle = ops, handle
        self.mode = "wb"

    def __enter__(self) -> FaultyHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def write(self, data: Any) -> int:
        if self._ops.dead:
            return len(data)
        return self._ops.step(
            "write", lambda: self._handle.write(data), lambda: self._handle.write(data[: len(data) // 2])
        )

    def close(self) -> None:
        if self._ops.dead or self._handle.closed:
            self._handle.close()
            return
        self._ops.step("close", self._handle.close)


class FaultyOps(LocalFileOps):
    """LocalFileOps whose ``fail_at``-th call (from 0) goes wrong; all calls are named in ``calls``."""

    def __init__(self, fail_at: int | None = None, fault: str = "eio") -> None:
        self.fail_at, self.fault = fail_at, fault
        self.calls: list[str] = []
        self.dead = False
        self._nested = False

    @property
    def failed_call(self) -> str | None:
        return self.calls[self.fail_at] if self.fail_at is not None and len(self.calls) > self.fail_at else None

    def step(self, name: str, effect: Any, torn: Any = None) -> Any:
        if self.dead:
            return None  # the power is off: nothing reaches the disk any more
        if self._nested:
            return effect()
        number = len(self.calls)
        self.calls.append(name)
        self._nested = True
        try:
            if number != self.fail_at:
                return effect()
            if self.fault.endswith("_after"):
                effect()
            elif torn is not None:
                torn()
        finally:
            self._nested = False
        if self.fault.startswith("cut"):
            self.dead = True
            raise PowerCut(name)
        code = ERRORS[self.fault.removesuffix("_after")]
        raise OSError(code, os.strerror(code), name)

    def makedirs(self, path: str) -> None:
        self.step("makedirs", lambda: super(FaultyOps, self).makedirs(path))

    def create(self, path: str) -> BinaryIO:
        def effect() -> Any:
            return FaultyHandle(self, open(path, "xb", buffering=0))

        return self.step("create", effect)

    def sync_file(self, handle: BinaryIO) -> None:
        self.step("sync_file", lambda: os.fsync(handle.fileno()))

    def link_new(self, source: str, target: str) -> bool:
        return self.step("link_new", lambda: super(FaultyOps, self).link_new(source, target))

    def replace(self, source: str, target: str) -> None:
        self.step("replace", lambda: super(FaultyOps, self).replace(source, target))

    def sync_dir(self, path: str) -> None:
        self.step("sync_dir", lambda: super(FaultyOps, self).sync_dir(path))

    def unlink(self, path: str) -> None:
        self.step("unlink", lambda: super(FaultyOps, self).unlink(path))

    def exists(self, path: str) -> bool:
        return self.step("exists", lambda: super(FaultyOps, self).exists(path))


class ForgetfulOps(LocalFileOps):
    """Keeps what was forced to disk apart from what was not, and can rebuild the tree that a power cut leaves.

    The model is the strict one of POSIX: a file's bytes last only after ``sync_file``, a name only after ``sync_dir`` of the
    folder that holds it, also the name of a folder. What was there before (``base`` itself) is taken as safe.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.log: list[tuple[str, str]] = []
        self._bytes: dict[int, bytes] = {}
        self._entries: dict[str, dict[str, int]] = {base: {}}

    def sync_file(self, handle: BinaryIO) -> None:
        super().sync_file(handle)
        self._bytes[os.fstat(handle.fileno()).st_ino] = Path(handle.name).read_bytes()
        self.log.append(("sync_file", handle.name))

    def link_new(self, source: str, target: str) -> bool:
        self.log.append(("link_new", target))
        assert self._bytes.get(os.stat(source).st_ino) == Path(source).read_bytes(), (
            f"{source} linked before its bytes are safe"
        )
        return super().link_new(source, target)

    def replace(self, source: str, target: str) -> None:
        self.log.append(("replace", target))
        assert self._bytes.get(os.stat(source).st_ino) == Path(source).read_bytes(), (
            f"{source} put in place before its bytes are safe"
        )
        super().replace(source, target)

    def sync_dir(self, path: str) -> None:
        super().sync_dir(path)
        self.log.append(("sync_dir", path))
        self._entries[path] = {entry.name: entry.inode() for entry in os.scandir(path)}

    def after_power_cut(self, target: Path, folder: str | None = None) -> None:
        """Write what is safe into ``target``: unsynced names are gone, unsynced bytes are an empty file."""
        folder = folder or self.base
        target.mkdir(parents=True, exist_ok=True)
        for name, inode in self._entries.get(folder, {}).items():
            path = f"{folder}/{name}"
            if os.path.isdir(path):
                self.after_power_cut(target / name, path)
            elif os.path.lexists(path):
                (target / name).write_bytes(self._bytes.get(inode, b""))


class LazyUnlinkOps(LocalFileOps):
    """A disk on which a removed name is gone for good only when its folder was forced to disk; until then a power cut may bring it back.

    ``moments``: for each removal, the files that a power cut at that moment could bring back, with their bytes.
    """

    def __init__(self) -> None:
        self.pending: dict[str, bytes] = {}
        self.moments: list[dict[str, bytes]] = []
        self.trees: list[dict[str, bytes]] = []
        self.watched: str | None = None

    def unlink(self, path: str) -> None:
        if os.path.exists(path):
            self.pending[path] = Path(path).read_bytes()
        super().unlink(path)
        self.moments.append(dict(self.pending))
        if self.watched:
            base = Path(self.watched)
            self.trees.append({p.relative_to(base).as_posix(): p.read_bytes() for p in base.rglob("*") if p.is_file()})

    def sync_dir(self, path: str) -> None:
        super().sync_dir(path)
        for name in [name for name in self.pending if os.path.dirname(name) == path.rstrip("/")]:
            del self.pending[name]
