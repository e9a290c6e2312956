"""Takes from the process of a query what a query does not need: files, network, rights, memory, time.

Each layer stands alone, and each may be impossible somewhere: what held is told, and the service writes it to its log.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterable
from typing import Final

_NOBODY: Final = 65534
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS: Final = 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same numbers on every architecture
_ABI_QUERY, _RULE_PATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
# Rights that a version of Landlock knows of: files, moving between folders, truncation, network, devices.
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS: Final = 0b11  # bind and connect, from version 4 on
_FILES_MAX: Final = 256
# DuckDB aborts where it cannot read of what control group it is, and how many cores there are.
_SYSTEM: Final = (
    "/proc/self/cgroup",
    "/proc/self/statm",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/null",
)


def enter(data: Iterable[str], code: Iterable[str]) -> dict[str, str]:
    """Give up the network, and files but for reading some. To be called before any thread is begun: threads keep what they have.

    Parameters
    ----------
    data : iterable of str
        Folders whose files may be read; what is not there is left out.
    code : iterable of str
        Folders that Python, its libraries and this program are in.

    Returns
    -------
    dict
        Layer -> what held: ``network``, ``files``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError):  # a lower hard limit is there already
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES_MAX, _FILES_MAX))
    held = {"network": _no_network(libc)}
    if _is_linux():
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    held["files"] = _no_files(libc, [*data, *code, *_SYSTEM])
    return held


def leave_root(data: Iterable[str]) -> str:
    """Become a user without rights, if the archive's files stay readable. After the imports: Python may lie in root's own folder.

    Returns
    -------
    str
        Whose rights are left.
    """
    if os.geteuid() != 0:
        return "the service's own"
    groups = os.getgroups()
    try:
        os.setgroups([])
        os.setegid(_NOBODY)
        os.seteuid(_NOBODY)
        usable = all(map(_is_open, data))
    except OSError:
        usable = False
    if usable:
        os.seteuid(0)
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        return f"{_NOBODY}"
    os.seteuid(0)
    os.setegid(0)
    with contextlib.suppress(OSError):
        os.setgroups(groups)
    return "root: the store cannot be read by anybody else"


def limit_memory(total_bytes: int) -> None:
    """Bound the address space. After the imports, of which pyarrow's need more for a moment than they keep."""
    with contextlib.suppress(ValueError):  # macOS keeps none, and a lower one may be there already
        resource.setrlimit(resource.RLIMIT_AS, (total_bytes, total_bytes))


def limit_cpu(seconds: float) -> None:
    """Bound the processor time from now on: what ends the process when the service that would kill it is gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))


def address_space() -> int:
    """Return the bytes of address space that the process has taken; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return 0


def _no_network(libc: ctypes.CDLL) -> str:
    if not _is_linux():
        return "open: not Linux"
    for flags, how in ((_CLONE_NEWNET, "own namespace"), (_CLONE_NEWUSER | _CLONE_NEWNET, "own namespaces")):
        if libc.unshare(flags) == 0:
            return how
    return f"open: unshare: {os.strerror(ctypes.get_errno())}"


def _is_open(folder: str) -> bool:
    """Whether the files of a folder can be read now: the first file that is found below it stands for all."""
    try:
        for place, _, files in os.walk(folder, onerror=_raise):
            if files:
                return _can_be_read(os.path.join(place, files[0]))
    except OSError:
        return False
    return True


def _can_be_read(path: str) -> bool:
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False


def _raise(error: OSError) -> None:
    raise error


def _no_files(libc: ctypes.CDLL, folders: Iterable[str]) -> str:
    """Let nothing be written, and only some folders be read (Landlock)."""
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), _ABI_QUERY) if _is_linux() else -1
    if version < 1:
        return "no Landlock: DuckDB's own locks and the file size limit"
    rights = _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]
    attributes = struct.pack("QQ", rights, _NET_RIGHTS) if version >= 4 else struct.pack("Q", rights)
    rules = libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return f"no Landlock: {os.strerror(ctypes.get_errno())}"
    try:
        for folder in folders:
            with contextlib.suppress(OSError):  # not there: nothing to read
                _allow(libc, rules, folder)
        if libc.syscall(_LANDLOCK_RESTRICT, rules, 0) != 0:
            return f"no Landlock: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(rules)
    return f"Landlock {version}"


def _allow(libc: ctypes.CDLL, rules: int, path: str) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _READ_FILE | _EXECUTE | (_READ_DIR if os.path.isdir(path) else 0)
        libc.syscall(_LANDLOCK_ADD, rules, _RULE_PATH, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)


def _is_linux() -> bool:
    return sys.platform.startswith("linux")
