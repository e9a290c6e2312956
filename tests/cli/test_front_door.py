"""Help, usage errors, the one table of exit codes, and what is not imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from embedder.models import weights_status
from sonotheque.cli import main as front
from sonotheque.core import errors
from sonotheque.core.errors import KINDS, SonothequeError
from tests.cluster.support import cli, cli_env, write_wav

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, SonothequeError)]
EXIT_CODES = {
    "NotFound": 4,
    "Invalid": 2,
    "Conflict": 5,
    "Unavailable": 6,
    "Damaged": 7,
    "Limit": 8,
    "Refused": 10,
    "SonothequeError": 1,
}


def leaves(command: Any, name: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return every verb, groups that do something by themselves included. Typer's Click may be its own or the real one."""
    if not hasattr(command, "commands"):
        return [(name, command)]
    mine = [(name, command)] if name and command.invoke_without_command else []
    return mine + [leaf for key, inner in command.commands.items() for leaf in leaves(inner, (*name, key))]


VERBS = leaves(typer.main.get_command(front.app))


def test_the_verbs_of_the_contract_are_there() -> None:
    names = {" ".join(name) for name, _ in VERBS}
    assert names >= {
        "demo",
        "embed",
        "status",
        "stop",
        "resume",
        "report",
        "verify",
        "info",
        "models",
        "models check",
        "bench embed",
    }


@pytest.mark.parametrize(("name", "command"), VERBS, ids=[" ".join(n) for n, _ in VERBS])
def test_every_verb_has_help_with_an_example(name: tuple[str, ...], command: Any) -> None:
    text = command.get_help(command.context_class(command, info_name=" ".join(name)))
    assert command.help
    assert "--help" in text
    assert f"sonotheque {' '.join(name)}" in (command.epilog or ""), "an example in the epilog"
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    assert all(p.help for p in options), "every option says what it does"


@pytest.mark.parametrize(("name", "command"), VERBS, ids=[" ".join(n) for n, _ in VERBS])
def test_examples_use_options_that_exist(name: tuple[str, ...], command: Any) -> None:
    of_verb = {" ".join(n): {o for p in c.params for o in p.opts} | {"--help"} for n, c in VERBS}
    for line in (command.epilog or "").splitlines():
        _, found, example = line.partition("sonotheque ")
        if not found:
            continue
        verb = max((v for v in of_verb if f"{example} ".startswith(f"{v} ")), key=len)
        assert {word for word in example.split() if word.startswith("--")} <= of_verb[verb]


def test_help_through_the_door() -> None:
    for arguments in (["--help"], ["-h"], ["embed", "--help"]):
        done = cli(*arguments)
        assert done.returncode == 0
        assert "Usage:" in done.stdout
    assert cli("--version").stdout.startswith("sonotheque ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["embed", "x", "--store", "s", "--no-such-option"],
        ["no-such-verb"],
        ["embed", "--store", "s"],
        ["embed", "x"],
        ["embed", "x", "--store", "s", "--workers", "many"],
        ["embed", ".", "--store", "s", "--dtype", "float8"],
        ["embed", ".", "--store", "s", "--workers=-1"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    done = cli(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    as_json = cli(*arguments, "--json", cwd=tmp_path)
    assert as_json.returncode == 2
    found = json.loads(as_json.stdout)
    assert set(found) == {"error"}
    assert found["error"]["kind"] == "invalid"
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("error_class", CLASSES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_every_error_has_its_exit_code_and_shape(
    error_class: type[SonothequeError],
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*arguments: Any, **settings: Any) -> int:
        raise error_class("what, where, and the next step é")

    monkeypatch.setattr(front, "app", fails)
    monkeypatch.setattr(sys, "argv", ["sonotheque", "x", *(["--json"] if as_json else [])])
    with pytest.raises(SystemExit) as left:
        front.main()
    assert left.value.code == EXIT_CODES[error_class.__name__] == error_class.exit_code
    out, err = capsys.readouterr()
    assert err.startswith("sonotheque: what, where")
    if not as_json:
        assert out == ""
        return
    found = json.loads(out)
    assert found == {"error": {"kind": error_class.default_kind, "message": "what, where, and the next step é"}}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_survives_a_process_border_and_json(kind: str) -> None:
    import pickle

    error = errors.Unavailable("x", kind=kind)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.kind, again.message) == (errors.Unavailable, kind, "x")
    assert again.to_json() == {"error": {"kind": kind, "message": "x"}}


def test_exit_codes_are_all_different() -> None:
    codes = [c.exit_code for c in CLASSES] + [errors.EXIT_OK, errors.EXIT_FILES_FAILED, errors.EXIT_STOPPED]
    assert len(codes) == len(set(codes))


def test_an_unknown_kind_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="KINDS"):
        errors.Conflict("x", kind="no such kind")


# ---- what is not imported ---------------------------------------------------------------------------------------------

HEAVY = [
    "numpy",
    "pyarrow",
    "duckdb",
    "dask",
    "distributed",
    "rich",
    "tensorflow",
    "soundfile",
    "librosa",
    "polars",
    "pandas",
]

_PROBE = """
import sys
sys.argv = ["sonotheque", *{arguments!r}]
from sonotheque.cli.main import main
try:
    main()
except SystemExit as left:
    code = left.code
print("\\nIMPORTED", code, *sorted(m for m in {heavy!r} if m in sys.modules), file=sys.stderr)
"""


def imported(arguments: list[str], heavy: list[str], timeout_s: float = 60) -> tuple[str, set[str]]:
    """Run the command line and return its exit code and which of the heavy libraries it imported."""
    code = "if __name__ == '__main__':\n" + "\n".join(
        "    " + line for line in _PROBE.format(arguments=arguments, heavy=heavy).splitlines()
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=cli_env(), timeout=timeout_s
    )
    line = next(line for line in done.stderr.splitlines() if line.startswith("IMPORTED"))
    _, status, *found = line.split()
    return status, set(found)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["embed", "--help"], ["--version"], ["models", "--help"]], ids=" ".join
)
def test_help_imports_no_heavy_library(arguments: list[str]) -> None:
    assert imported(arguments, HEAVY) == ("0", set())


def test_models_imports_no_engine() -> None:
    assert imported(["models"], ["tensorflow", "ai_edge_litert", "dask", "duckdb"]) == ("0", set())


@pytest.mark.skipif(not weights_status("birdnet_v2.4").present, reason="BirdNET's weights are not here")
@pytest.mark.parametrize("workers", [0, 1])
def test_birdnet_never_needs_tensorflow(tmp_path: Path, workers: int) -> None:
    write_wav(tmp_path / "a" / "x.wav", 3.0, rate_hz=48_000)
    arguments = [
        "embed",
        str(tmp_path / "a"),
        "--store",
        str(tmp_path / "s"),
        "--model",
        "birdnet_v2.4",
        "--workers",
        str(workers),
    ]
    heavy = ["tensorflow", "kagglehub", "ai_edge_litert"]
    # The coordinator of Dask workers needs no engine at all.
    assert imported(arguments, heavy) == ("0", {"ai_edge_litert"} if workers == 0 else set())


@pytest.mark.skipif(not weights_status("birdnet_v2.4").present, reason="BirdNET's weights are not here")
def test_the_licence_of_non_free_weights_is_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "a" / "x.wav", 3.0, rate_hz=48_000)
    done = cli("embed", tmp_path / "a", "--store", tmp_path / "s", "--model", "birdnet_v2.4", "--workers", 0, "--json")
    assert done.returncode == 0
    assert "CC BY-NC-SA" in done.stderr
    assert json.loads(done.stdout)["windows"] == 1
