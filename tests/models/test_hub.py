"""Published files and the hub they are fetched from: names, the client's cache, and what is said when nothing comes."""

from __future__ import annotations

import builtins
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embedder.models import MODELS, load_model, weights_status
from embedder.models.hub import HubFile, cached_file, fetch, hub_file, is_onnx
from embedder.models.published import LABELS, PUBLISHED, RECOMMENDED, published_as, published_at
from sonotheque.core.errors import Invalid, NotFound, Unavailable

ROOT = Path(__file__).parents[2]
FILE = HubFile("some-owner/Some.Model_1", "folder/perch_v2.onnx")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HUGGINGFACE_HUB_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hub's client, whose hub answers at once."""
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra: hub)")
    monkeypatch.setattr(type(hub.get_session()), "head", lambda *a, **k: None)
    return hub


def put_into_cache(file: HubFile, folder: Path, content: bytes = b"network") -> Path:
    """Lay a finished download where the hub's own client looks for it."""
    repository = folder / f"models--{file.repository.replace('/', '--')}"
    path = repository / "snapshots" / "c0ffee" / file.file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c0ffee")
    return path


class TestPublished:
    def test_the_table_is_well_formed(self) -> None:
        addresses = [one.address for one in (*PUBLISHED, LABELS)]
        assert len(set(addresses)) == len(addresses)
        for one in (*PUBLISHED, LABELS):
            assert one.model in MODELS
            assert re.fullmatch(r"[0-9a-f]{64}|", one.sha256)
            assert one.n_bytes >= 0
            assert one.holds
            assert hub_file(one.address) == HubFile(one.repository, one.file)

    def test_hashes_and_sizes_are_those_written_down(self) -> None:
        assert RECOMMENDED.address == "hf:justinchuby/Perch-onnx/perch_v2.onnx"
        assert RECOMMENDED.sha256.startswith("bf0c8467a924cb07")
        assert RECOMMENDED.n_bytes == 409_148_616
        assert LABELS.sha256.startswith("e4d5c0397d8fb08b")

    def test_a_mirror_is_the_same_file(self) -> None:
        first, mirror = (one for one in PUBLISHED if one.sha256 == RECOMMENDED.sha256)
        assert published_as(mirror.sha256) == first
        assert mirror.n_bytes == first.n_bytes

    def test_what_is_not_known_is_not_found(self) -> None:
        assert published_as("") is None  # some of the table have no hash: they must not be taken for each other
        assert published_as("0" * 64) is None
        assert published_at("nobody/Nothing", "x.onnx") is None
        assert published_at(RECOMMENDED.repository, RECOMMENDED.file) == RECOMMENDED

    def test_a_user_reads_of_it_where_models_are_listed(self) -> None:
        assert RECOMMENDED.address in MODELS["perch_v2"].note
        assert "StableHLO" in MODELS["perch_v2"].note


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "hf:",
            "hf:a",
            "hf:a/b",
            "hf:a/b/",
            "hf://a/b/c.onnx",
            "hf:a/b/../c.onnx",
            "hf:a/../b/c.onnx",
            "hf:/a/b/c.onnx",
            "hf:a/b/c d",
            "hf:a/b/c.onnx\n",
            "hf:a/b/.hidden",
            "HF:a/b/c.onnx",
        ],
    )
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(Invalid, match="OWNER/NAME/FILE"):
            hub_file(address)

    def test_parts(self) -> None:
        assert hub_file(FILE.address) == FILE

    @pytest.mark.parametrize(
        ("weights", "onnx"),
        [
            ("x.onnx", True),
            ("X.ONNX", True),
            ("hf:a/b/c", True),
            ("folder", False),
            ("x.tflite", False),
            ("x.onnx/", False),
        ],
    )
    def test_what_is_taken_for_an_onnx_file(self, weights: str, onnx: bool) -> None:
        assert is_onnx(weights) is onnx

    def test_only_onnx_files_are_taken(self) -> None:
        with pytest.raises(Invalid, match=re.escape(".onnx")):
            load_model("perch_v2", weights="hf:a/b/labels.csv")


class TestCache:
    def test_nothing_is_there(self) -> None:
        assert cached_file(FILE) is None

    def test_it_is_found_where_the_client_finds_it(self, client: Any, empty_cache: Path) -> None:
        path = put_into_cache(FILE, empty_cache)
        assert cached_file(FILE) == path
        assert str(path) == client.try_to_load_from_cache(FILE.repository, FILE.file, cache_dir=empty_cache)

    @pytest.mark.parametrize("variable", ["HF_HOME", "XDG_CACHE_HOME", "HOME"])
    def test_the_folder_follows_the_clients_variables(
        self, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra: hub)")
        monkeypatch.delenv("HF_HUB_CACHE")
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
        code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        path = put_into_cache(FILE, Path(done.stdout.strip()))
        assert cached_file(FILE) == path

    def test_a_download_that_was_cut_short_is_not_taken(self, empty_cache: Path) -> None:
        put_into_cache(FILE, empty_cache).unlink()
        assert cached_file(FILE) is None

    def test_what_is_cached_is_used_without_the_client_or_a_network(
        self, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("embedder.models.hub._import_client", None)
        path = put_into_cache(FILE, empty_cache)
        assert fetch(FILE) == path

    def test_status_before_and_after(self, empty_cache: Path) -> None:
        before = weights_status("perch_v2", FILE.address)
        assert not before.present
        assert "first use" in before.detail
        path = put_into_cache(FILE, empty_cache)
        after = weights_status("perch_v2", FILE.address)
        assert after.present
        assert after.where == str(path)

    def test_status_of_what_is_no_address(self) -> None:
        found = weights_status("perch_v2", "hf:nowhere")
        assert not found.present
        assert "OWNER/NAME/FILE" in found.detail


class TestFetching:
    def failures(self, client: Any) -> list[Exception]:
        errors = client.errors
        http = sys.modules[type(client.get_session()).__module__.partition(".")[0]]
        return [
            errors.LocalEntryNotFoundError("no\nnetwork"),
            errors.OfflineModeIsEnabled("offline"),
            errors.XetDownloadError("xet"),
            http.HTTPError("read timed out"),
            OSError(28, "No space left on device"),
            ValueError("an answer that cannot be read"),
        ]

    def test_every_failure_becomes_one_message_with_the_ways_on(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for failure in self.failures(client):

            def fail(*args: Any, failure: Exception = failure, **options: Any) -> str:
                raise failure

            monkeypatch.setattr(client, "hf_hub_download", fail)
            with pytest.raises(Unavailable) as caught:
                fetch(FILE)
            assert caught.value.kind == "download_failed"
            for part in (
                FILE.address,
                f"huggingface.co/{FILE.repository}",
                "(1)",
                "--weights FILE.onnx",
                "birdnet_v2.4",
            ):
                assert part in caught.value.message
            assert "\n" not in caught.value.message

    def test_a_mistake_of_ours_is_not_dressed_up_as_a_network_failure(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: Any, **options: Any) -> str:
            raise AttributeError("ours")

        monkeypatch.setattr(client, "hf_hub_download", fail)
        with pytest.raises(AttributeError):
            fetch(FILE)

    @pytest.mark.parametrize("name", ["RepositoryNotFoundError", "RemoteEntryNotFoundError", "GatedRepoError"])
    def test_a_file_that_the_hub_has_not(self, client: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        error = getattr(client.errors, name)

        def fail(*args: Any, **options: Any) -> str:
            raise error("404", response=SimpleNamespace(headers={}, request=None))

        monkeypatch.setattr(client, "hf_hub_download", fail)
        with pytest.raises(NotFound) as caught:
            fetch(FILE)
        assert caught.value.kind == "no_weights"
        assert FILE.address in caught.value.message
        assert RECOMMENDED.address in caught.value.message

    def test_a_download_that_works_gives_its_path(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def download(repository: str, file: str) -> str:
            asked.append((repository, file))
            return "/there/perch_v2.onnx"

        monkeypatch.setattr(client, "hf_hub_download", download)
        assert fetch(FILE) == Path("/there/perch_v2.onnx")
        assert asked == [(FILE.repository, FILE.file)]

    def test_the_client_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def without(name: str, *args: Any, **options: Any) -> Any:
            if name.startswith("huggingface_hub"):
                raise ImportError("gone")
            return real(name, *args, **options)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(Unavailable) as caught:
            fetch(FILE)
        assert caught.value.kind == "engine_missing"
        assert "engines.txt" in caught.value.message
        assert "--weights FILE.onnx" in caught.value.message

    def test_said_to_be_offline(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(Unavailable, match="HF_HUB_OFFLINE"):
            fetch(FILE)


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_network_that_hangs_is_given_up(silent_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra: hub)")
    monkeypatch.setattr(hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent_server}")
    monkeypatch.setattr("embedder.models.hub._REACH_TIMEOUT_S", 0.2)
    monkeypatch.setattr(hub, "hf_hub_download", None)  # never reached
    with pytest.raises(Unavailable) as caught:
        fetch(FILE)
    assert caught.value.kind == "download_failed"


def test_offline_is_said_without_the_clients_many_tries() -> None:
    """In a process of its own, with an address that no one answers: no engine is imported for it."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra: hub)")
    code = f"""
import json, sys
from embedder.models import load_model
from sonotheque.core.errors import Unavailable
try:
    load_model("perch_v2", weights={RECOMMENDED.address!r})
except Unavailable as error:
    json.dump([error.kind, "onnxruntime" in sys.modules, "tensorflow" in sys.modules], sys.stdout)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={"PATH": "/usr/bin", "HOME": "/nonexistent", "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)},
    )
    kind, *imported = json.loads(done.stdout)
    assert kind == "download_failed"
    assert not imported[1]
    assert "Retrying" not in done.stderr
