"""``sonotheque probe train`` and ``probe evaluate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sonotheque.cli.stages import stage_progress

if TYPE_CHECKING:
    from probes.experiment import Experiment

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_QUIET = typer.Option(False, "--quiet", "-q", help="No progress on stderr.")
_STAGES = {"examples": "reading examples", "clips": "embedding clips", "training": "training"}


def register(group: typer.Typer) -> None:
    """Add the verbs."""
    group.command(
        "train",
        epilog="Examples: sonotheque probe train owl --store archive\n\n"
        "sonotheque probe train thrushes --store archive --class 'Turdus merula' --split day --threshold precision=0.9\n\n"
        "sonotheque probe train owl --store archive --clips labelled/ --report owl.html\n\n"
        "sonotheque probe train owl --store archive --experiment owl.yaml\n\n"
        "sonotheque probe train owl --store archive --write-experiment owl.yaml   (only writes the file)",
    )(train)
    group.command(
        "evaluate",
        epilog="Examples: sonotheque probe evaluate owl --store archive\n\nsonotheque probe evaluate owl --store archive --version 2 --json",
    )(evaluate)


def train(
    name: str = typer.Argument(..., help="Of the probe."),
    store: str = _STORE,
    experiment: Path = typer.Option(None, "--experiment", metavar="FILE", help="All settings, as YAML."),
    classes: list[str] = typer.Option(
        [], "--class", metavar="LABEL", help="A label to learn; again for more [default: all]."
    ),
    kind: str = typer.Option(
        None, "--kind", help="multilabel, or multiclass: classes exclude each other [default: multilabel]."
    ),
    clips: str = typer.Option(None, "--clips", metavar="DIR", help="Learn from clips, one folder a class."),
    annotator: list[str] = typer.Option(
        [], "--annotator", metavar="NAME", help="Only annotations of this annotator; again for more."
    ),
    weak: int = typer.Option(
        None,
        "--weak-negatives",
        metavar="N",
        help="Windows without annotations that count as weak negatives [default: 1000].",
    ),
    split: str = typer.Option(
        None, "--split", help="What is held out as a whole: recording, day or site [default: recording]."
    ),
    test_share: float = typer.Option(None, "--test-share", metavar="SHARE", help="Share held out [default: 0.25]."),
    threshold: str = typer.Option(
        None, "--threshold", metavar="RULE", help="max_f1, precision=0.9 or false_alarms=1 (an hour) [default: max_f1]."
    ),
    seed: int = typer.Option(None, "--seed", help="Of everything drawn, the split too [default: 0]."),
    device: str = typer.Option(None, "--device", help="auto, cpu or gpu (through TensorFlow) [default: auto]."),
    weights: str = typer.Option(
        None, "--weights", metavar="PATH", help="Local copy of the model's weights, for --clips."
    ),
    snr: bool = typer.Option(False, "--snr", help="Read the sound of judged windows: results by signal over noise."),
    report: Path = typer.Option(None, "--report", metavar="FILE", help="Write the report as a page (.html) or .json."),
    write_experiment: Path = typer.Option(
        None, "--write-experiment", metavar="FILE", help="Only write these settings as YAML."
    ),
    mlflow: str = typer.Option(
        None, "--mlflow", metavar="URI", help="Log to this MLflow tracking server or folder too."
    ),
    as_json: bool = _JSON,
    quiet: bool = _QUIET,
) -> int:
    """Train a probe on annotated windows, or on clips, and keep it as a new version with its report."""
    from probes.experiment import Experiment
    from probes.experiment_files import experiment_yaml, read_experiment
    from search_api.probes.training import train_probe
    from sonotheque.cli.output import document, say, tell

    if report:
        _require_report_name(report)
    begun = read_experiment(experiment, name=name) if experiment else Experiment(name)
    wanted = _with_flags(begun, classes, kind, clips, annotator, weak, split, test_share, threshold, seed, device)
    if write_experiment:
        write_experiment.write_text(experiment_yaml(wanted), "utf-8")
        say(f"wrote {write_experiment}")
        return 0
    made = train_probe(store, wanted, weights=weights, snr=snr, progress=None if quiet else stage_progress(_STAGES))
    if report:
        _write_report(made["report"], report)
        if not quiet:
            tell(f"report: {report}")
    if mlflow:
        from search_api.probes.tracking import log_training

        tell(f"MLflow: run {log_training(store, name, made['version'], mlflow)} at {mlflow}")
    if as_json:
        document({k: v for k, v in made.items() if k != "report"} | {"report": made["report"]})
        return 0
    _show(made["report"])
    used = "it is in use" if made["in_use"] == made["version"] else f"version {made['in_use']} stays in use"
    say(f"\nprobe {name} version {made['version']}, {made['seconds']:.1f} s; {used}")
    if made["in_use"] != made["version"]:
        say(f"next: sonotheque probe promote {name} --version {made['version']} --store {store}")
    return 0


def evaluate(
    name: str = typer.Argument(..., help="Of the probe."),
    store: str = _STORE,
    version: int = typer.Option(None, "--version", metavar="N", help="[default: the one in use]."),
    report: Path = typer.Option(None, "--report", metavar="FILE", help="Write the report as a page (.html) or .json."),
    as_json: bool = _JSON,
) -> int:
    """Judge a probe again by the examples that were held out when it was trained, with the vectors as they are stored now."""
    from search_api.probes.evaluating import evaluate_probe
    from sonotheque.cli.output import document

    found = evaluate_probe(store, name, version)
    if report:
        _write_report(found, report)
    if as_json:
        document({"probe": name, "version": found["version"], **(found["test"] or {"classes": {}, "macro": {}})})
    else:
        _show(found)
    return 0


def _with_flags(
    begun: Experiment,
    classes: list[str],
    kind: str | None,
    clips: str | None,
    annotator: list[str],
    weak: int | None,
    split: str | None,
    test_share: float | None,
    threshold: str | None,
    seed: int | None,
    device: str | None,
) -> Experiment:
    from probes.experiment import ThresholdRule

    def given(**values: Any) -> dict[str, Any]:
        return {k: v for k, v in values.items() if v not in (None, [])}

    examples = given(clips=clips, source="clips" if clips else None, annotators=tuple(annotator) or None)
    parts = given(
        examples=replace(begun.examples, **examples) if examples else None,
        negatives=replace(begun.negatives, weak=weak) if weak is not None else None,
        split=replace(begun.split, **given(by=split, test_share=test_share, seed=seed))
        if (split, test_share, seed) != (None, None, None)
        else None,
        classes=tuple(classes) or None,
        kind=kind,
        seed=seed,
        device=device,
    )
    if threshold is not None:
        rule, _, value = threshold.partition("=")
        parts["threshold"] = ThresholdRule(rule, _number(value, threshold) if value else None)
    return replace(begun, **parts)


def _number(text: str, whole: str) -> float:
    from sonotheque.core.errors import Invalid

    try:
        return float(text)
    except ValueError:
        raise Invalid(f"--threshold {whole}: {text!r} is no number; expected such as precision=0.9") from None


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console

    from search_api.probes.report_text import report_text

    Console().print(report_text(report))


def _write_report(report: dict[str, Any], target: Path) -> None:
    import json

    from search_api.probes.report_page import report_page

    _require_report_name(target)
    is_json = target.suffix.lower() == ".json"
    target.write_text(json.dumps(report, indent=1, ensure_ascii=False) if is_json else report_page(report), "utf-8")


def _require_report_name(target: Path) -> None:
    from sonotheque.core.errors import Invalid, NotFound

    if target.suffix.lower() not in (".html", ".htm", ".json"):
        raise Invalid(f"--report {target}: expected a name that ends in .html or .json")
    if not target.absolute().parent.is_dir():
        raise NotFound(f"--report {target}: there is no folder {target.absolute().parent}")
