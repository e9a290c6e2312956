"""Single values of a cluster file, from YAML nodes: the text that was written, not what YAML 1.1 makes of it.

YAML reads ``12:00:00`` as 43200 and ``yes`` as true; here a time stays a time and an environment variable stays text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import yaml

T = TypeVar("T")
Take = Callable[[yaml.Node], Any]
_NULL: Final = "tag:yaml.org,2002:null"
_INT: Final = "tag:yaml.org,2002:int"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MEMORY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B")
_TIME: Final = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")
_ADDRESS: Final = re.compile(r"(?:tcp|tls)://(?:[\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})")
_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MEMORY_MIN: Final = 256 * 1000**2
_TIME_MIN_S: Final = 60


class Wrong(Exception):  # noqa: N818 - an answer; `read` adds file, line and key
    """A value that cannot be right.

    Parameters
    ----------
    expected : str
        What would be right.
    """

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def is_null(node: yaml.Node) -> bool:
    """Tell whether a key stands there without a value."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def whole(least: int) -> Take:
    """Return what takes a whole number of at least ``least``."""

    def take(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode) and node.tag == _INT and re.fullmatch(r"[0-9]{1,9}", node.value):
            number = int(node.value)
            if number >= least:
                return number
        raise Wrong(f"a whole number of at least {least}")

    return take


def text(node: yaml.Node) -> str:
    """Take a line of text, as it was written."""
    if not isinstance(node, yaml.ScalarNode) or is_null(node) or not node.value.strip() or _CONTROL.search(node.value):
        raise Wrong("one line of text")
    return str(node.value)


def word(node: yaml.Node) -> str:
    """Take a name without blanks, which does not look like an option of a command."""
    with_reason = "a name without blanks that does not begin with -"
    found = _or(text, node, with_reason)
    if re.search(r"\s", found) or found.startswith("-"):
        raise Wrong(with_reason)
    return found


def path(node: yaml.Node) -> str:
    """Take a path from the root, without blanks at its ends or a slash after it."""
    found = _or(text, node, "a path from the root, such as /data").strip()
    if not found.startswith("/"):
        raise Wrong("a path from the root, such as /data")
    return found.rstrip("/") or "/"


def plain_path(node: yaml.Node) -> str:
    """Take a path from the root without blanks, for those who know no quotes."""
    expected = "a path from the root without blanks or quotes, such as /data/logs"
    found = _or(path, node, expected)
    if re.search(r"[\s'\"\\]", found):
        raise Wrong(expected)
    return found


def label(node: yaml.Node) -> str:
    """Take a name that Kubernetes takes: lower case letters, digits and hyphens."""
    expected = "lower case letters, digits and hyphens, 50 at most, beginning with a letter"
    found = _or(text, node, expected)
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?", found):
        raise Wrong(expected)
    return found


def memory(node: yaml.Node) -> int:
    """Take an amount of memory; returns bytes."""
    expected = "an amount such as 4 GB or 3.5 GiB, of at least 256 MB"
    found = _MEMORY.fullmatch(_or(text, node, expected).strip())
    if found is None:
        raise Wrong(expected)
    number, prefix, binary = found.groups()
    amount = int(float(number) * (1024 if binary else 1000) ** ["", "k", "M", "G", "T"].index(prefix))
    if amount < _MEMORY_MIN:
        raise Wrong(expected)
    return amount


def walltime(node: yaml.Node) -> int:
    """Take hours, minutes and seconds, with days in front if there are any; returns seconds."""
    expected = "a time such as 12:00:00 or 2-00:00:00 (two days), of at least 00:01:00"
    found = _TIME.fullmatch(_or(text, node, expected).strip())
    if found is None:
        raise Wrong(expected)
    days, hours, minutes, seconds = (int(group or 0) for group in found.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total < _TIME_MIN_S:
        raise Wrong(expected)
    return total


def address(node: yaml.Node) -> str:
    """Take a scheduler's address."""
    expected = "an address such as tcp://login1:8786, or tls://login1:8786 with tls"
    found = _or(text, node, expected)
    match = _ADDRESS.fullmatch(found)
    if match is None or not 0 < int(match.group(1)) < 65_536:
        raise Wrong(expected)
    return found


def many(take: Callable[[yaml.Node], T], expected: str) -> Take:
    """Return what takes a list of at least one, each once."""

    def taken(node: yaml.Node) -> tuple[T, ...]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise Wrong(expected)
        found = tuple(_or(take, item, expected) for item in node.value)
        if len(set(found)) != len(found):
            raise Wrong(f"{expected}, each once")
        return found

    return taken


def lines(node: yaml.Node) -> tuple[str, ...]:
    """Take lines of text, in their order; none are fine."""
    expected = "a list of lines of text, such as [module load python]"
    if not isinstance(node, yaml.SequenceNode):
        raise Wrong(expected)
    return tuple(_or(text, item, expected) for item in node.value)


def environment(node: yaml.Node) -> Mapping[str, str]:
    """Take variables: names -> text, as it was written; an empty one is written ``""``."""
    expected = "names and texts, such as {OMP_NUM_THREADS: 1}"
    found = _pairs(node, expected)
    for name, value in found:
        if not _VARIABLE.fullmatch(name) or not isinstance(value, yaml.ScalarNode) or is_null(value):
            raise Wrong(expected)
        if _CONTROL.search(value.value):
            raise Wrong(expected)
    return {name: str(value.value) for name, value in found}


def folders(node: yaml.Node) -> Mapping[str, str]:
    """Take pairs of folders: as this machine sees one -> as the nodes see it."""
    expected = "pairs of folders, here and there, such as {/home/me/recordings: /scratch/recordings}"
    pairs = _pairs(node, expected)
    found = {}
    for here, there in pairs:
        if not here.startswith("/") or _CONTROL.search(here):
            raise Wrong(expected)
        found[here.rstrip("/") or "/"] = _or(path, there, expected)
    return found


def volumes(node: yaml.Node) -> Mapping[str, str]:
    """Take pairs of a claim's name and the folder where it is mounted."""
    expected = "claims and folders, such as {archive-claim: /data}"
    found = {name: _or(path, value, expected) for name, value in _pairs(node, expected)}
    if not found or any(not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?", name) for name in found):
        raise Wrong(expected)
    return found


def _pairs(node: yaml.Node, expected: str) -> list[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise Wrong(expected)
    found: list[tuple[str, yaml.Node]] = []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value in dict(found):
            raise Wrong(f"{expected}, each once")
        found.append((str(key.value), value))
    return found


def _or(take: Callable[[yaml.Node], T], node: yaml.Node, expected: str) -> T:
    """Take a value; if it is wrong, say what the whole was to be."""
    try:
        return take(node)
    except Wrong:
        raise Wrong(expected) from None
