"""``sonotheque probe``: from confirmed calls to a detector. Assembles the verbs."""

from __future__ import annotations

import typer

from sonotheque.cli import probe_apply, probe_many, probe_review, probe_train, probe_versions

_EPILOG = """Examples:

sonotheque probe train owl --store archive

sonotheque probe apply owl --store archive

sonotheque probe hits owl --store archive --threshold 0.9 --format raven -o owl.txt

sonotheque probe review owl --store archive --how uncertain -k 20 -o judge.csv

Annotations come from `sonotheque annotate import` or `annotate add`."""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=_EPILOG,
        help="Detectors learnt from annotations: trained, judged, run over the archive.",
    )
    for module in (probe_train, probe_many, probe_apply, probe_review, probe_versions):
        module.register(group)
    app.add_typer(group, name="probe")
