"""What every result says of itself, whichever benchmark wrote it; and how a results file is read.

``what`` (the command's name), ``command`` (the line that measures it again), ``data``, ``machine``, ``commit`` and ``when`` stand at the
top of every result, followed by what the benchmark found. Files from before ``commit`` and ``when`` stood there are read as well.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from sonotheque.core.errors import Invalid, NotFound

SCRATCH = Path(".bench")
RESULTS = Path(__file__).parent / "results"
ENVELOPE = ("what", "command", "data", "machine", "commit", "when")
_PREFIX = "sonotheque bench "


def envelope(name: str, options: str, data: str) -> dict[str, Any]:
    """Return the head of a result; call it before measuring, so that the load it states is that before.

    Parameters
    ----------
    name : str
        The verb: ``engines``; empty for the suite.
    options : str
        The verb's options, as they are typed; may be empty.
    data : str
        What was measured on, in a sentence.
    """
    command = " ".join(filter(None, (_PREFIX.strip(), name, options)))
    return complete({"what": (_PREFIX + name).strip(), "command": command, "data": data})


def complete(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with all of the envelope in front, what is missing filled in from this machine and this moment."""
    where = result.get("machine") or machine()
    head = {
        "what": result.get("what", ""),
        "command": result.get("command", result.get("what", "")),
        "data": result.get("data", ""),
        "machine": where,
        "commit": result.get("commit") or where.get("commit", ""),
        "when": result.get("when") or datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return head | {key: value for key, value in result.items() if key not in head}


def write(result: dict[str, Any], target: Path) -> dict[str, Any]:
    """Write a result, its envelope completed and the load after it added; returns it."""
    result = complete(result)
    result["machine"].setdefault("load_after", [round(load, 2) for load in os.getloadavg()])
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.replace(target)
    return result


def place(out: str | None, name: str, *, quick: bool) -> Path:
    """Return the file a result is written to: the one asked for, else by its name in ``results/``, or in ``.bench/`` if it is a quick one."""
    return Path(out) if out else (SCRATCH if quick else RESULTS) / f"{name}.json"


def read(path: Path) -> dict[str, Any]:
    """Return a result with its whole envelope; what an older file did not say is empty.

    Raises
    ------
    NotFound
        If there is no such file.
    Invalid
        If it is not JSON, or is JSON but no result.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such results file") from None
    except (OSError, ValueError) as error:
        raise Invalid(f"{path}: cannot be read as a result of `sonotheque bench`: {error}") from error
    if not isinstance(value, dict) or not str(value.get("what", "")).startswith(_PREFIX.strip()):
        raise Invalid(f'{path}: is JSON, but no result of `sonotheque bench`: it has no "what" that says so')
    head: dict[str, Any] = {key: value.get(key) or ({} if key == "machine" else "") for key in ENVELOPE}
    head["commit"] = head["commit"] or head["machine"].get("commit", "")
    head["command"] = head["command"] or head["what"]
    return head | {key: inner for key, inner in value.items() if key not in head}


def verb(result: dict[str, Any]) -> str:
    """Return which benchmark a result is of: ``engines``; the suite's own is ``suite``."""
    return str(result["what"]).removeprefix(_PREFIX.strip()).strip() or "suite"


def where(result: dict[str, Any]) -> str:
    """Return the machine of a result in a few words."""
    told = result["machine"]
    words = [str(told["cpu"])] if told.get("cpu") else []
    words += [f"{told['cores']} cores"] if told.get("cores") else []
    devices = result.get("gpus") or result.get("devices") or []
    words += [str(d["name"]) for d in devices if isinstance(d, dict) and d.get("name")]
    return ", ".join(words) or "machine not told"


def provenance(result: dict[str, Any]) -> str:
    """Return machine, commit and day of a result."""
    commit = f"commit {result['commit']}" if result["commit"] else "commit not told"
    return ", ".join([where(result), commit, *([result["when"][:10]] if result["when"] else [])])
