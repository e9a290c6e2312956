"""File operations that go wrong on purpose: errors and power cuts at the Nth call, and a disk that forgets."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from store.fsops import LocalFileOps

# Every call of a file system that changes something, and the one a commit looks with.
CALLS = (
    "makedirs",
    "make_folder",
    "create",
    "sync_file",
    "append",
    "link_new",
    "replace",
    "sync_dir",
    "unlink",
    "exists",
)


@contextlib.contextmanager
def everywhere(ops: LocalFileOps) -> Iterator[None]:
    """Let every LocalFileOps of this process, whoever made it, do what ``ops`` does: a whole run on a disk that goes wrong."""
    plain = {name: getattr(LocalFileOps, name) for name in CALLS}

    def rerouted(name: str) -> Callable[..., Any]:
        def call(self: LocalFileOps, *args: Any, **options: Any) -> Any:
            return plain[name](self, *args, **options) if self is ops else getattr(ops, name)(*args, **options)

        return call

    for name in CALLS:
        setattr(LocalFileOps, name, rerouted(name))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(LocalFileOps, name, function)


class PowerCut(BaseException):
    """The machine stops: no clean-up code may change the disk after it."""


ERRORS = {"eio": errno.EIO, "enospc": errno.ENOSPC}
# `cut`: before the call has its effect; `cut_after` and `eio_after`: the call took effect and its answer was lost.
FAULTS = ("eio", "enospc", "eio_after", "cut", "cut_after")


class FaultyHandle:
    """A file opened by FaultyOps: write and close are steps too, and a write that fails may leave half of its bytes."""

    def __init__(self, ops: FaultyOps, handle: Any, path: str) -> None:
        self._ops, self._handle, self._path = ops, handle, path
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
            "write", lambda: self._handle.write(data), lambda: self._handle.write(data[: len(data) // 2]), self._path
        )

    def close(self) -> None:
        if self._ops.dead or self._handle.closed:
            self._handle.close()
            return
        self._ops.step("close", self._handle.close, path=self._path)


class FaultyOps(LocalFileOps):
    """LocalFileOps whose ``fail_at``-th call (from 0) goes wrong; all calls are named in ``calls``, their files in ``paths``."""

    def __init__(self, fail_at: int | None = None, fault: str = "eio") -> None:
        self.fail_at, self.fault = fail_at, fault
        self.calls: list[str] = []
        self.paths: list[str] = []
        self.dead = False
        self._nested = False

    @property
    def failed_call(self) -> str | None:
        return self.calls[self.fail_at] if self.fail_at is not None and len(self.calls) > self.fail_at else None

    def step(self, name: str, effect: Any, torn: Any = None, path: str = "") -> Any:
        if self.dead:
            return None  # the power is off: nothing reaches the disk any more
        if self._nested:
            return effect()
        number = len(self.calls)
        self.calls.append(name)
        self.paths.append(path)
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
        self.step("makedirs", lambda: super(FaultyOps, self).makedirs(path), path=path)

    def make_folder(self, path: str) -> bool:
        # Dead, it says yes: who asks until a name is free would ask for ever.
        return self.dead or self.step("make_folder", lambda: super(FaultyOps, self).make_folder(path), path=path)

    def create(self, path: str) -> BinaryIO:
        def effect() -> Any:
            return FaultyHandle(self, open(path, "xb", buffering=0), path)

        if self.dead:
            return open(os.devnull, "wb")
        return self.step("create", effect, path=path)

    def sync_file(self, handle: BinaryIO) -> None:
        self.step("sync_file", lambda: os.fsync(handle.fileno()), path=handle.name)

    def append(self, path: str, data: bytes, *, forced: bool = False) -> None:
        def half() -> None:
            super(FaultyOps, self).append(path, data[: len(data) // 2])

        self.step("append", lambda: super(FaultyOps, self).append(path, data, forced=forced), half, path)

    def link_new(self, source: str, target: str) -> bool:
        return self.step("link_new", lambda: super(FaultyOps, self).link_new(source, target), path=target)

    def replace(self, source: str, target: str) -> None:
        self.step("replace", lambda: super(FaultyOps, self).replace(source, target), path=target)

    def sync_dir(self, path: str) -> None:
        self.step("sync_dir", lambda: super(FaultyOps, self).sync_dir(path), path=path)

    def unlink(self, path: str) -> None:
        self.step("unlink", lambda: super(FaultyOps, self).unlink(path), path=path)

    def exists(self, path: str) -> bool:
        return self.step("exists", lambda: super(FaultyOps, self).exists(path), path=path)


class ForgetfulOps(LocalFileOps):
    """Keeps what was forced to disk apart from what was not, and can rebuild the tree that a power cut leaves.

    The model is the strict one of POSIX: a file's bytes last only after ``sync_file``, a name only after ``sync_dir`` of the
    folder that holds it, also the name of a folder. What was there before (``base`` itself) is taken as safe.

    ``may_tear``: tells of a path that it need not be safe before it is put in place. ``moment``: called after each call.
    """

    def __init__(
        self,
        base: str,
        may_tear: Callable[[str], bool] = lambda path: False,
        moment: Callable[[str, str], None] = lambda name, path: None,
    ) -> None:
        self.base, self._may_tear, self._moment = base, may_tear, moment
        self.log: list[tuple[str, str]] = []
        self._bytes: dict[int, bytes] = {}
        self._entries: dict[str, dict[str, int]] = {base: {}}

    def _tell(self, name: str, path: str) -> None:
        self.log.append((name, path))
        self._moment(name, path)

    def create(self, path: str) -> BinaryIO:
        handle = super().create(path)
        self._bytes.pop(os.fstat(handle.fileno()).st_ino, None)  # the number of a file that is gone
        self._tell("create", path)
        return handle

    def make_folder(self, path: str) -> bool:
        made = super().make_folder(path)
        self._tell("make_folder", path)
        return made

    def append(self, path: str, data: bytes, *, forced: bool = False) -> None:
        new = not os.path.lexists(path)
        super().append(path, data, forced=forced)
        if new:
            self._bytes.pop(os.stat(path).st_ino, None)
        if forced:
            self._bytes[os.stat(path).st_ino] = Path(path).read_bytes()
        self._tell("append", path)

    def sync_file(self, handle: BinaryIO) -> None:
        super().sync_file(handle)
        self._bytes[os.fstat(handle.fileno()).st_ino] = Path(handle.name).read_bytes()
        self._tell("sync_file", handle.name)

    def link_new(self, source: str, target: str) -> bool:
        assert self._bytes.get(os.stat(source).st_ino) == Path(source).read_bytes(), (
            f"{source} linked before its bytes are safe"
        )
        made = super().link_new(source, target)
        self._tell("link_new", target)
        return made

    def replace(self, source: str, target: str) -> None:
        assert self._may_tear(target) or self._bytes.get(os.stat(source).st_ino) == Path(source).read_bytes(), (
            f"{source} put in place before its bytes are safe"
        )
        super().replace(source, target)
        self._tell("replace", target)

    def sync_dir(self, path: str) -> None:
        super().sync_dir(path)
        self._entries[path] = {entry.name: entry.inode() for entry in os.scandir(path)}
        self._tell("sync_dir", path)

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
