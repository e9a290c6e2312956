"""Cluster files, read strictly: whatever is wrong is named with its file, line and key."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from cluster.specs.kinds import KINDS, Cluster
from cluster.specs.values import Wrong, is_null
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.suggest import did_you_mean

_EXAMPLES = "the folder cluster/examples has one commented file per kind"


def read_cluster(path: str | Path) -> Cluster:
    """Return the cluster that a YAML file describes.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    NotFound
        If there is no such file.
    Invalid
        If it is no YAML, or a key is unknown, missing, there twice, or has a value that cannot be right.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no cluster file {file}; {_EXAMPLES}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the cluster file {file} cannot be read: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise Invalid(f"{file}, line 1: expected keys and values, beginning with `kind: local`; {_EXAMPLES}")
    return _cluster(_Block(str(file), node, ()))


@dataclass(frozen=True)
class _Block:
    """Keys and values of one level of a file."""

    file: str
    node: yaml.MappingNode
    above: tuple[str, ...]

    def where(self, node: yaml.Node | None = None) -> str:
        return f"{self.file}, line {(node or self.node).start_mark.line + 1}"

    def name(self, key: str) -> str:
        return ".".join([*self.above, key])

    def pairs(self) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return key -> (its node, its value's); a key stands there once."""
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Invalid(f"{self.where(key)}: a key must be one word, such as workers")
            name = str(key.value)
            if name in found:
                first = found[name][0].start_mark.line + 1
                raise Invalid(f"{self.where(key)}: {self.name(name)} is there twice, first in line {first}; keep one")
            found[name] = (key, value)
        return found


def _cluster(block: _Block) -> Cluster:
    pairs = block.pairs()
    if "kind" not in pairs:
        raise Invalid(f"{block.where()}: the key kind is missing; expected one of {', '.join(KINDS)}; {_EXAMPLES}")
    _, value = pairs.pop("kind")
    kind = str(value.value) if isinstance(value, yaml.ScalarNode) else ""
    if kind not in KINDS:
        raise Invalid(f"{block.where(value)}: kind is {_shown(value)}; {did_you_mean(kind, KINDS)}")
    made: Cluster = _made(block, KINDS[kind], pairs, f"kind {kind}")
    return made


def _made(block: _Block, cls: type, pairs: dict[str, tuple[yaml.Node, yaml.Node]], of: str) -> Any:
    known = {f.name: f for f in fields(cls)}
    for key, (node, _) in pairs.items():
        if key not in known:
            others = [kind for kind, other in KINDS.items() if key in {f.name for f in fields(other)}]
            more = f" ({key} is a key of {', '.join(others)})" if others and not block.above else ""
            raise Invalid(
                f"{block.where(node)}: unknown key {block.name(key)!r} of {of}; {did_you_mean(key, known)}{more}"
            )
    required = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [block.name(name) for name in required if name not in pairs]:
        are = "the key {} is" if len(missing) == 1 else "the keys {} are"
        raise Invalid(f"{block.where()}: {are.format(', '.join(missing))} missing, which {of} needs; {_EXAMPLES}")
    taken = {key: _value(block, key, value, known[key]) for key, (_, value) in pairs.items()}
    try:
        return cls(**taken)
    except Invalid as error:
        raise Invalid(f"{block.where()}: {error.message}") from error


def _value(block: _Block, key: str, node: yaml.Node, wanted: Any) -> Any:
    nested = wanted.metadata.get("nested")
    if is_null(node) and wanted.default is None:
        return None
    if nested is None:
        try:
            return wanted.metadata["take"](node)
        except Wrong as error:
            raise _wrong(block, key, node, error.expected) from error
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(block, key, node, f"keys below it: {', '.join(f.name for f in fields(nested))}")
    inner = _Block(block.file, node, (*block.above, key))
    return _made(inner, nested, inner.pairs(), block.name(key))


def _wrong(block: _Block, key: str, node: yaml.Node, expected: str) -> Invalid:
    return Invalid(f"{block.where(node)}: {block.name(key)} is {_shown(node)}; expected {expected}")


def _shown(node: yaml.Node) -> str:
    """Return a value for a message, cut where it gets long."""
    if isinstance(node, yaml.ScalarNode):
        return "empty" if is_null(node) else f"'{_short(node)}'"
    if isinstance(node, yaml.MappingNode):
        return f"keys and values ({', '.join(_short(key) for key, _ in node.value[:5])})"
    return f"a list ({', '.join(_short(item) for item in node.value[:5])})"


def _short(node: yaml.Node) -> str:
    text = str(node.value) if isinstance(node, yaml.ScalarNode) else "..."
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 60 else f"{text[:57]}..."
