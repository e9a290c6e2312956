"""Trainings logged to MLflow: through a stand-in always, through MLflow itself where it is installed."""

from __future__ import annotations

import builtins
import math
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search_api.probes.tracking import log_training, metrics_of, parameters_of
from sonotheque.core.errors import Damaged, Invalid, NotFound, Unavailable
from store import open_archive
from tests.search import probe_kit as kit


class FakeClient:
    """As much of ``mlflow.tracking.MlflowClient`` as is used, kept in lists; fails at a named call if asked to."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}

    def _step(self, name: str) -> None:
        if name == self.fails:
            raise OSError(111, f"refused in {name}")

    def get_experiment_by_name(self, name: str) -> Any:
        self._step("get_experiment_by_name")
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self._step("create_experiment")
        assert name not in self.experiments
        self.experiments[name] = f"e{len(self.experiments)}"
        return self.experiments[name]

    def create_run(self, experiment_id: str, *, run_name: str, tags: dict[str, str]) -> Any:
        self._step("create_run")
        identity = f"r{len(self.runs)}"
        self.runs[identity] = {
            "experiment": experiment_id,
            "name": run_name,
            "tags": tags,
            "status": "RUNNING",
            "params": {},
            "metrics": [],
            "files": {},
        }
        return SimpleNamespace(info=SimpleNamespace(run_id=identity))

    def log_param(self, run_id: str, key: str, value: str) -> None:
        self._step("log_param")
        assert isinstance(value, str) and key not in self.runs[run_id]["params"]
        self.runs[run_id]["params"][key] = value

    def log_metric(self, run_id: str, key: str, value: float, *, step: int) -> None:
        self._step("log_metric")
        assert isinstance(value, float) and math.isfinite(value)
        self.runs[run_id]["metrics"].append((key, value, step))

    def log_artifacts(self, run_id: str, folder: str) -> None:
        self._step("log_artifacts")
        self.runs[run_id]["files"] = {p.name: p.read_bytes() for p in Path(folder).iterdir()}

    def set_terminated(self, run_id: str, *, status: str) -> None:
        self.runs[run_id]["status"] = status


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    root = kit.make_store(tmp_path_factory.mktemp("tracked"))
    open_archive(root).close()
    for quality in (0.5, 0.9):
        kit.train(root, quality, data_digest="d" * 64, l2=0.25)
    return root


def test_parameters_metrics_and_files_of_a_version_are_logged(base):
    client = FakeClient()
    assert log_training(base, "owl", 2, "http://nowhere", client=client) == "r0"
    run = client.runs["r0"]
    assert client.experiments == {"sonotheque/owl": "e0"} and run["name"] == "owl 2" and run["status"] == "FINISHED"
    assert run["tags"]["version"] == "2" and run["tags"]["data_digest"] == "d" * 64 and run["tags"]["model"] == "tiny 1"
    assert run["params"] == {
        "kind": "multilabel",
        "classes": "2",
        "metric": "map",
        "split.by": "recording",
        "shots": "1, 2",
        "annotators": "",
        "l2_used": "0.25",
    }
    metrics = {(k, step): v for k, v, step in run["metrics"]}
    assert metrics["macro/map", 0] == 0.8 and metrics["macro/map_low", 0] == 0.7 and metrics["class/owl/ap", 0] == 0.8
    assert metrics["curve/map", 1] == 0.4 and metrics["solver/iterations", 0] == 9.0
    assert ("macro/accuracy", 0) not in metrics and ("class/owl/precision", 0) not in metrics
    assert set(run["files"]) == {
        "probe.json",
        "weights.safetensors",
        "report.json",
        "experiment.yaml",
        "examples.parquet",
    }
    assert run["files"]["report.json"] == Path(base, "probes/owl/2/report.json").read_bytes()


def test_trainings_of_one_probe_share_an_experiment(base):
    client = FakeClient()
    assert [log_training(base, "owl", v, "x", client=client) for v in (1, 2, None)] == ["r0", "r1", "r2"]
    assert len(client.experiments) == 1 and client.runs["r2"]["name"] == "owl 1", "the one in use"


@pytest.mark.parametrize(
    "call", ["get_experiment_by_name", "create_experiment", "create_run", "log_param", "log_metric", "log_artifacts"]
)
def test_a_server_that_fails_is_told_and_the_run_is_not_left_running(base, call):
    client = FakeClient(call)
    with pytest.raises(
        Unavailable, match=f"version 1 of probe owl could not be logged to http://host: .*{call}.*The version is kept"
    ):
        log_training(base, "owl", 1, "http://host", client=client)
    assert all(run["status"] == "FAILED" for run in client.runs.values())


def test_what_is_not_there_or_damaged_is_told_before_anything_is_logged(base, tmp_path):
    client = FakeClient()
    with pytest.raises(NotFound, match="did you mean owl"):
        log_training(base, "owll", None, "x", client=client)
    root = str(shutil.copytree(base, tmp_path / "store"))
    Path(root, "probes/owl/1/weights.safetensors").write_bytes(b"")
    with pytest.raises(Damaged):
        log_training(root, "owl", 1, "x", client=client)
    assert client.runs == {}
    with pytest.raises(Invalid, match="address is empty"):
        log_training(base, "owl", 1, "  ")


def test_without_mlflow_the_line_that_installs_it_is_told(base, monkeypatch):
    real = builtins.__import__

    def without(name: str, *more: Any, **other: Any) -> Any:
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
        return real(name, *more, **other)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable, match=r"pip install 'sonotheque\[mlflow\]'.*probe runs") as caught:
        log_training(base, "owl", 1, "runs")
    assert caught.value.kind == "engine_missing" and caught.value.exit_code == 6


def test_long_values_and_names_that_mlflow_does_not_take():
    found = dict(parameters_of({"where": {"site": None, "paths": ["x" * 400, "y" * 400]}, "l2": 0.5, "on": True}))
    assert set(found) == {"where.paths", "l2", "on"} and len(found["where.paths"]) == 500 and found["l2"] == "0.5"
    classes = {
        "Ñandú (call)": {"ap": 0.1},
        "Ñandú [call]": {"ap": 0.2},
        "a,b": {"ap": float("nan")},
        "ok": {"ap": True, "n_positive": 3},
    }
    names = [name for name, _, _ in metrics_of({"test": {"classes": classes}})]
    assert len(set(names)) == 3 and "class/ok/n_positive" in names and all(n.isascii() for n in names)
    assert list(metrics_of({})) == [] and list(metrics_of({"test": None, "learning_curve": None})) == []


# --- MLflow itself ---


@pytest.fixture
def mlflow(monkeypatch):
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, os.environ.get(name, "true" if name != "MLFLOW_HTTP_REQUEST_MAX_RETRIES" else "0"))
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    return MlflowClient


@pytest.mark.parametrize("as_address", [False, True])
def test_mlflow_reads_what_was_logged_to_a_folder(base, tmp_path, mlflow, as_address):
    folder = tmp_path / "my runs"
    uri = folder.as_uri() if as_address else str(folder)
    runs = [log_training(base, "owl", v, uri) for v in (1, 2)]
    client = mlflow(tracking_uri=folder.as_uri())
    experiment = client.get_experiment_by_name("sonotheque/owl")
    found = client.search_runs([experiment.experiment_id])
    assert {r.info.run_id for r in found} == set(runs) and all(r.info.status == "FINISHED" for r in found)
    run = client.get_run(runs[1])
    assert run.data.params["split.by"] == "recording" and run.data.metrics["class/owl/roc_auc"] == 0.9
    assert run.data.tags["version"] == "2" and run.data.metrics["macro/map"] == 0.8
    assert [(m.step, m.value) for m in client.get_metric_history(runs[1], "curve/map")] == [(1, 0.4)]
    assert "weights.safetensors" in {a.path for a in client.list_artifacts(runs[1])}
    assert not (Path.cwd() / "mlruns").exists()


def test_mlflow_cannot_write_where_a_file_is(base, tmp_path, mlflow):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(Unavailable, match="taken"):
        log_training(base, "owl", 1, str(tmp_path / "taken"))
    assert (tmp_path / "taken").read_text() == "mine"


def test_an_address_that_mlflow_does_not_know_is_told(base, mlflow):
    with pytest.raises(Unavailable, match="gopher"):
        log_training(base, "owl", 1, "gopher://host/runs")


def test_a_server_that_is_not_there_is_told(base, mlflow):
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        log_training(base, "owl", 1, "http://127.0.0.1:9")
