"""What happens where Perch's weights have to be fetched: the cache, the failures, and that no failure takes long."""

from __future__ import annotations

import builtins
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embedder.models import load_model, perch_weights, weights_status
from embedder.models.perch_weights import HANDLES, cached_folder, fetch, reach_hub
from sonotheque.core.errors import Unavailable

ROOT = Path(__file__).parents[2]
pytest.importorskip("kagglehub", reason="kagglehub is not installed (extra: perch)")
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed (extra: perch)"
)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KAGGLE_DATA_PROXY_URL", "TBE_RUNTIME_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    monkeypatch.setattr(requests, "head", lambda *a, **k: SimpleNamespace(close=lambda: None))


def put_into_cache(handle: str) -> Path:
    """Lay a finished download where the hub's own client says it would be."""
    from kagglehub.cache import Cache, get_cached_path
    from kagglehub.handle import parse_model_handle

    parsed = parse_model_handle(handle)
    folder = Path(get_cached_path(parsed))
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    Cache().mark_as_complete(parsed)
    return folder


def check_message(error: Unavailable, name: str) -> None:
    assert error.kind == "download_failed"
    assert name in error.message
    assert "\n" not in error.message
    for part in (
        "Three ways on",
        "run the same command again",
        "--weights DIR",
        "saved_model.pb",
        "https://www.kaggle.com",
    ):
        assert part in error.message
    assert "--model birdnet_v2.4" in error.message


@pytest.mark.parametrize("handle", [handle for handles in HANDLES.values() for handle in handles.all])
def test_the_cache_is_found_where_the_client_keeps_it(handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cached_folder(handle) is None
    folder = put_into_cache(handle)
    assert cached_folder(handle) == folder
    monkeypatch.setattr(perch_weights, "reach_hub", lambda *a: pytest.fail("a cached model needs no network"))
    assert fetch("perch_v2", handle) == folder


def test_a_download_that_was_cut_short_is_not_taken() -> None:
    folder = put_into_cache(HANDLES["perch_v1"].cpu)
    (folder / "saved_model.pb").unlink()
    assert cached_folder(HANDLES["perch_v1"].cpu) is None


def test_status_before_and_after() -> None:
    before = weights_status("perch_v2")
    assert not before.present
    assert "perch_v2_cpu" in before.where
    folder = put_into_cache(HANDLES["perch_v2"].gpu)
    after = weights_status("perch_v2")
    assert after.present
    assert after.where == str(folder)
    assert HANDLES["perch_v2"].gpu in after.detail


def test_handles_are_those_of_perch_hoplite() -> None:
    assert HANDLES["perch_v2"].gpu == "google/bird-vocalization-classifier/tensorFlow2/perch_v2/2"
    assert HANDLES["perch_v2"].cpu == "google/bird-vocalization-classifier/tensorFlow2/perch_v2_cpu/1"
    assert HANDLES["perch_v1"].all == (
        "google/bird-vocalization-classifier/tensorFlow2/bird-vocalization-classifier/8",
    )


def failures() -> list[Exception]:
    import requests
    from kagglehub import exceptions

    return [
        requests.ConnectionError("Failed to resolve 'api.kaggle.com'"),
        requests.Timeout("read timed out"),
        requests.exceptions.SSLError("certificate verify failed"),
        exceptions.KaggleApiHTTPError("403 Client Error.\n\nYou don't have permission"),
        exceptions.BackendError("internal error", 13),
        exceptions.CredentialError("no key"),
        exceptions.DataCorruptionError("The X-Goog-Hash header\n\nindicated"),
        exceptions.KaggleEnvironmentError("no environment"),
        exceptions.NotFoundError("no such version"),
        exceptions.UnauthenticatedError(),
        OSError(28, "No space left on device"),
        ValueError("Invalid model handle"),
        TimeoutError(),
    ]


@pytest.mark.parametrize("failure", failures(), ids=lambda failure: type(failure).__name__)
def test_every_failure_of_the_client_becomes_one_message(
    hub_answers: None, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    import kagglehub

    def fail(handle: str) -> str:
        raise failure

    monkeypatch.setattr(kagglehub, "model_download", fail)
    with pytest.raises(Unavailable) as caught:
        fetch("perch_v2", HANDLES["perch_v2"].cpu)
    check_message(caught.value, "perch_v2")
    assert caught.value.__cause__ is failure
    assert " ".join(str(failure).split())[:30] in caught.value.message


def test_a_mistake_of_ours_is_not_dressed_up_as_a_network_failure(
    hub_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub

    def fail(handle: str) -> str:
        raise AttributeError("ours")

    monkeypatch.setattr(kagglehub, "model_download", fail)
    with pytest.raises(AttributeError):
        fetch("perch_v2", HANDLES["perch_v2"].cpu)


def test_a_download_that_works_gives_its_folder(
    hub_answers: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import kagglehub

    asked: list[str] = []

    def download(handle: str) -> str:
        asked.append(handle)
        return str(tmp_path)

    monkeypatch.setattr(kagglehub, "model_download", download)
    assert fetch("perch_v1", HANDLES["perch_v1"].cpu) == tmp_path
    assert asked == [HANDLES["perch_v1"].cpu]


def test_kagglehub_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "kagglehub":
            raise ImportError("No module named 'kagglehub'")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable, match="perch\\.txt") as caught:
        fetch("perch_v2", HANDLES["perch_v2"].cpu)
    assert caught.value.kind == "engine_missing"


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word, as behind some firewalls."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_network_that_hangs_is_given_up(silent_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{silent_server}")
    monkeypatch.setattr(perch_weights, "_REACH_TIMEOUT_S", (0.3, 0.3))
    started_s = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        reach_hub("perch_v2", HANDLES["perch_v2"].cpu)
    assert time.monotonic() - started_s < 20
    check_message(caught.value, "perch_v2")


def test_notebook_services_are_not_asked_for_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    monkeypatch.setattr(requests, "head", lambda *a, **k: pytest.fail("no request is made"))
    monkeypatch.setenv("TBE_RUNTIME_ADDR", "somewhere:80")
    reach_hub("perch_v2", HANDLES["perch_v2"].cpu)


@needs_tensorflow
@pytest.mark.parametrize("name", ["perch_v1", "perch_v2"])
def test_offline_is_said_before_tensorflow_is_imported(name: str) -> None:
    """The real thing, in a process whose only way out is a closed port."""
    script = (
        "import sys, json, time\nfrom embedder.models import load_model\n"
        "from sonotheque.core.errors import Unavailable\nstart = time.monotonic()\n"
        f"try:\n    load_model({name!r})\nexcept Unavailable as e:\n"
        "    json.dump([e.kind, e.message, time.monotonic() - start, 'tensorflow' in sys.modules], sys.stdout)"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    env = {**os.environ, "HTTPS_PROXY": closed, "https_proxy": closed, "NO_PROXY": "", "no_proxy": ""}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    kind, message, took_s, imported = json.loads(done.stdout)
    check_message(Unavailable(message, kind=kind), name)
    assert took_s < 20
    assert not imported


def test_a_failed_start_of_tensorflow_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed but broken: the import fails although the package is found."""
    for part in ("variables", "assets"):
        (tmp_path / part).mkdir()
    (tmp_path / "saved_model.pb").touch()
    (tmp_path / "assets" / "labels.csv").write_text("head\na\n")
    real = builtins.__import__

    def broken(name: str, *args: Any, **options: Any) -> Any:
        if name == "tensorflow":
            raise ImportError("libsomething.so.1: cannot open shared object file")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(Unavailable, match="perch\\.txt") as caught:
        load_model("perch_v2", weights=str(tmp_path))
    assert caught.value.kind == "engine_missing"
