"""The front door: assembles the verbs, and turns every error of the tree into a message and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import typer

from sonotheque.cli import (
    annotate,
    ask,
    bench,
    care,
    demo,
    embed,
    export,
    history,
    importing,
    index,
    jobs,
    keys,
    logs,
    metadata,
    models,
    predict,
    probe,
    run_sites,
    search,
    serve,
    sql,
)
from sonotheque.cli.addresses import with_normal_stores
from sonotheque.cli.output import document, tell
from sonotheque.core.errors import SonothequeError
from sonotheque.core.own import claim_process
from sonotheque.core.version import VERSION

app = typer.Typer(
    name="sonotheque",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's help costs a tenth of a second on every call
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Turn a folder of recordings into a store of embeddings, and ask it where a sound occurs.",
    epilog="Start with: sonotheque demo. Then: sonotheque embed RECORDINGS --store STORE --model birdnet_v2.4",
)
# Typer carries Click inside itself since 0.2x, and may again not: the class is found where it is.
_USAGE_ERROR: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

for module in (
    demo,
    embed,
    run_sites,
    search,
    index,
    probe,
    serve,
    keys,
    jobs,
    logs,
    history,
    care,
    annotate,
    metadata,
    export,
    predict,
    importing,
    ask,
    sql,
    models,
    bench,
):
    module.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sonotheque {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    """Turn a folder of recordings into a store of embeddings, and ask it where a sound occurs."""


def main() -> None:
    """Run the command line; the console script."""
    claim_process()
    as_json = "--json" in sys.argv
    try:
        code = app(with_normal_stores(sys.argv[1:]), standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe is expected, and not when the interpreter ends
    except SonothequeError as error:
        if as_json:
            document(error.to_json())
        tell(f"sonotheque: {error.message}")
        code = error.exit_code
    except _USAGE_ERROR as error:
        code = _usage(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        tell("sonotheque: interrupted")
        code = 130
    except OSError as error:
        if error.errno == errno.EPIPE:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        tell(f"sonotheque: {error}. What was committed is unharmed; the same command goes on where this one stopped")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Any, *, as_json: bool) -> int:
    if as_json:
        document({"error": {"kind": "invalid", "message": error.format_message()}})
    error.show(file=sys.stderr)
    return int(error.exit_code)


if __name__ == "__main__":
    main()
