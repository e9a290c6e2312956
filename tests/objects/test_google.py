"""Google's store: the same requests by another protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedder.audio import open_windows
from embedder.remote import RemoteError, as_error, asking, blocks, list_below, look_at, object_at
from sonotheque.core.errors import NotFound, Refused
from sonotheque.core.outcome import Status
from tests.audio.damage import RULE, sound, write
from tests.cluster.support import make_archive, run, vectors
from tests.objects.gcs import GoogleServer


@pytest.fixture(scope="module")
def _server() -> Iterator[GoogleServer]:
    server = GoogleServer()
    yield server
    server.stop()


@pytest.fixture
def google(_server: GoogleServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleServer]:
    """A server without objects, in which nothing is wrong."""
    for name, value in _server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(asking, "DELAYS_S", (0.01, 0.01))
    monkeypatch.setattr(asking._DOORS, "_readable", {})
    monkeypatch.setattr(blocks, "_OF_PROCESS", {})
    _server.objects.clear()
    yield _server
    _server.error, _server.errors_left = 0, -1


def test_listing_facts_and_ranges(google: GoogleServer) -> None:
    names = ["s/a b?#%.wav", "s/a/b.wav", "s/z.wav", "s/é.wav"]
    for name in names:
        google.put(name, name.encode() * 10)
    google.put("other/a.wav", b"x")
    found = list(list_below(f"{google.url}/s", limit=3))
    assert [item.key for item in found] == names
    for item in found:
        url, data = f"{google.url}/{item.key}", item.key.encode() * 10
        assert look_at(url) == item
        assert item.size_bytes == len(data)
        assert asking.fetch(url, 3, 20, item.version) == data[3:20]
    assert object_at(f"{google.url}/s") is None
    assert object_at(f"{google.url}/s/z.wav") == found[2]


def test_only_the_generation_that_was_asked_for(google: GoogleServer) -> None:
    google.put("a.wav", b"abcdef")
    before = look_at(f"{google.url}/a.wav")
    google.put("a.wav", b"ABCDEF")
    assert look_at(f"{google.url}/a.wav").mtime_ns != before.mtime_ns
    with pytest.raises(RemoteError) as caught:
        asking.fetch(f"{google.url}/a.wav", 0, 3, before.version)
    assert caught.value.kind == "changed"


@pytest.mark.parametrize(
    ("status", "kind", "error"), [(403, "forbidden", Refused), (404, "absent", NotFound), (401, "forbidden", Refused)]
)
def test_errors(status: int, kind: str, error: type[Exception], google: GoogleServer) -> None:
    google.put("a.wav", b"abc")
    google.error = status
    with pytest.raises(RemoteError) as caught:
        look_at(f"{google.url}/a.wav")
    assert caught.value.kind == kind
    assert isinstance(as_error(caught.value), error)


def test_a_passing_error_passes(google: GoogleServer) -> None:
    google.put("a.wav", b"abc")
    google.error, google.errors_left = 503, 1
    assert asking.fetch(f"{google.url}/a.wav", 0, 3) == b"abc"


def test_sound_and_store_are_those_of_the_disk(google: GoogleServer, tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.flac", sound(20.0)))
    google.put("a.flac", path.read_bytes())
    here, there = open_windows(str(path), RULE), open_windows(f"{google.url}/a.flac", RULE)
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one[2], other[2])
    assert here.summary == there.summary
    assert there.summary.status is Status.OK
    folder = make_archive(tmp_path / "recordings", sites=1, days=1, files=2)
    for file in sorted(folder.rglob("*.wav")):
        google.put(f"season/{file.relative_to(folder).as_posix()}", file.read_bytes())
    run(folder, tmp_path / "here")
    report = run(f"{google.url}/season", tmp_path / "there")
    assert report.done == 2
    assert np.array_equal(vectors(tmp_path / "here"), vectors(tmp_path / "there"))
