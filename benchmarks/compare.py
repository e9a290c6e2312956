"""`bench compare`: two results, or two folders of them, figure by figure.

A figure's ratio is after by before. It is *worse* when it lost more than the margin in its own direction: a time that grew, a speed that
fell. Figures of quality (recall, cosine, agreement, ROC-AUC) are worse when they fell by more than 0.005: five per cent of a recall is no
margin. What other programs did in the same run is compared and never counted as worse. Ratios of two machines say which machine is faster,
not which version: differences of machine and versions stand above the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.envelope import provenance, read, verb
from benchmarks.figures import Figure, figures, settings
from sonotheque.core.errors import Invalid, NotFound

MARGIN = 0.05
QUALITY_MARGIN = 0.005
_MACHINE = ("cpu", "instructions", "cores", "memory_gib", "python", "system")
_LOAD_PER_CORE = 0.5


def run(*, before: str, after: str, margin: float = MARGIN) -> dict[str, Any]:
    """Compare two results files, or two folders of them file by file.

    Parameters
    ----------
    before, after : str
        Both files, or both folders.
    margin : float
        The share by which a figure may be worse.

    Raises
    ------
    NotFound
        If a path is not there.
    Invalid
        If one is a folder and the other is not, if the files are of two benchmarks, or if the folders share no file.
    """
    one, two = Path(before), Path(after)
    for path in (one, two):
        if not path.exists():
            raise NotFound(f"{path}: there is no such file or folder")
    if one.is_dir() != two.is_dir():
        raise Invalid(f"{one} and {two}: compare two results files or two folders of them, not one of each")
    if one.is_dir():
        pairs, alone = _paired(_folder(one), _folder(two))
    else:
        first, second = read(one), read(two)
        if verb(first) != verb(second):
            raise Invalid(
                f"{one} is of `{first['what']}` and {two} of `{second['what']}`: they have no figures in common"
            )
        pairs, alone = _paired(_parts(one.name, first), _parts(one.name, second))
    if not pairs:
        raise Invalid(f"{one} and {two} have no result in common: {', '.join(alone) or 'both are empty'}")
    files = [compare(name, *pair, margin) for name, pair in pairs.items()]
    return {
        "what": "sonotheque bench compare",
        "before": before,
        "after": after,
        "margin": margin,
        "files": files,
        "alone": alone,
        "worse": sum(row["verdict"] == "worse" for file in files for row in file["rows"]),
        "better": sum(row["verdict"] == "better" for file in files for row in file["rows"]),
    }


def _folder(folder: Path) -> dict[str, dict[str, Any]]:
    return dict(part for path in sorted(folder.glob("*.json")) for part in _parts(path.name, read(path)).items())


def _parts(name: str, result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a result by name; the suite's as the results of its parts, which have machine and commit from it."""
    if verb(result) != "suite":
        return {name: result}
    head = {key: result[key] for key in ("machine", "commit", "when")}
    found = {part: told["result"] for part, told in result.get("parts", {}).items() if told.get("result")}
    return {
        f"{name}: {part}": {"what": "sonotheque bench", "command": "", "data": "", **head, **inner}
        for part, inner in found.items()
    }


def _paired(
    one: dict[str, dict[str, Any]], two: dict[str, dict[str, Any]]
) -> tuple[dict[str, tuple[dict[str, Any], dict[str, Any]]], list[str]]:
    both = {name: (one[name], two[name]) for name in one if name in two}
    alone = [f"{name} only before" for name in one if name not in two] + [
        f"{name} only after" for name in two if name not in one
    ]
    return both, alone


def compare(name: str, before: dict[str, Any], after: dict[str, Any], margin: float = MARGIN) -> dict[str, Any]:
    """Return the figures that both results have, with what is different about the two besides."""
    one, two = figures(before), figures(after)
    return {
        "name": name,
        "before": provenance(before),
        "after": provenance(after),
        "differences": list(differences(before, after)),
        "rows": [_row(one[key], two[key], margin) for key in one if key in two],
        "only_before": [key for key in one if key not in two],
        "only_after": [key for key in two if key not in one],
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield what makes two results hard to compare: machine, versions, load, data and settings."""
    one, two = before["machine"], after["machine"]
    for key in _MACHINE:
        # A result from before a field was told says nothing of it.
        if key in one and key in two and one[key] != two[key]:
            yield f"machine, {key}: {_said(one[key])} before, {_said(two[key])} after"
    mine, theirs = one.get("versions", {}), two.get("versions", {})
    for package in sorted({*mine} & {*theirs}):
        if mine[package] != theirs[package]:
            yield f"{package}: {mine[package]} before, {theirs[package]} after"
    for words, told in (("before", one), ("after", two)):
        load = (told.get("load_before") or [0.0])[0]
        if load > _LOAD_PER_CORE * (told.get("cores") or 1):
            yield f"the machine was busy {words}: a load of {load:g} on {told.get('cores', '?')} cores when it began"
    if before["data"] != after["data"]:
        yield f"data: {before['data'] or 'not told'} before, {after['data'] or 'not told'} after"
    sizes, others = settings(before), settings(after)
    for key in sizes:
        if key in others and sizes[key] != others[key]:
            yield f"{key}: {sizes[key]} before, {others[key]} after"


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _row(before: Figure, after: Figure, margin: float) -> dict[str, Any]:
    return {
        "figure": before.name,
        "before": before.value,
        "after": after.value,
        "ratio": round(after.value / before.value, 4) if before.value else None,
        "better": before.better,
        "verdict": verdict(before, after, margin),
    }


def verdict(before: Figure, after: Figure, margin: float = MARGIN) -> str:
    """Return ``worse``, ``better``, ``same``, or ``theirs`` for another program's figure."""
    if not before.is_ours:
        return "theirs"
    sign = 1 if before.better == "higher" else -1
    gained = sign * (after.value - before.value)
    # Of what it was if it lost, of what it is if it gained: a time that doubled and a speed that halved are worse alike.
    room = QUALITY_MARGIN if before.is_quality else margin * abs(before.value if gained < 0 else after.value)
    if abs(gained) <= room * (1 + 1e-9):
        return "same"
    return "better" if gained > 0 else "worse"


def text(result: dict[str, Any], *, changed: bool = False) -> str:
    """Return the comparison for people; with ``changed`` only the figures beyond the margin."""
    from sonotheque.cli.output import table

    lines: list[str] = []
    for file in result["files"]:
        lines += [f"{file['name']}", f"  before: {file['before']}", f"  after:  {file['after']}"]
        lines += [f"  note: {words}" for words in file["differences"]]
        rows = [r for r in file["rows"] if not changed or r["verdict"] in ("worse", "better")]
        if rows:
            cells = [[r["figure"], f"{r['before']:.6g}", f"{r['after']:.6g}", _ratio(r), _flag(r)] for r in rows]
            lines += ["", table(["figure", "before", "after", "ratio", ""], cells, right=(1, 2, 3))]
        missing = [(file["only_before"], "before"), (file["only_after"], "after")]
        lines += [
            f"  only {when}: {len(names)} figures ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"
            for names, when in missing
            if names
        ]
        lines.append("")
    lines += [f"not compared: {words}" for words in result["alone"]]
    count = sum(len(file["rows"]) for file in result["files"])
    lines.append(
        f"{count} figures: {result['worse']} worse and {result['better']} better by more than {100 * result['margin']:g} %"
    )
    return "\n".join(lines)


def _ratio(row: dict[str, Any]) -> str:
    return "" if row["ratio"] is None else f"{row['ratio']:.3f}"


def _flag(row: dict[str, Any]) -> str:
    return {"worse": "WORSE", "better": "better", "theirs": "(another program)"}.get(row["verdict"], "")
