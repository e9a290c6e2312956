"""Addresses as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonotheque.core import places
from sonotheque.core.errors import Invalid


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("S3://bucket", "s3://bucket"),
        ("s3a://bucket/a", "s3://bucket/a"),
        ("gcs://bucket/", "gs://bucket"),
        ("s3://bucket/a b?c#d%20/e", "s3://bucket/a b?c#d%20/e"),
        ("s3://bucket//twice", "s3://bucket//twice"),
        ("file:///data/recordings/", "/data/recordings"),
        ("file://localhost/data", "/data"),
        ("/data/recordings", "/data/recordings"),
        ("recordings:2025", "recordings:2025"),
        ("C://", "C://"),
    ],
)
def test_one_spelling(given: str, normal: str) -> None:
    if given == "C://":
        with pytest.raises(Invalid):
            places.normal(given)
        return
    assert places.normal(given) == normal
    assert places.normal(normal) == normal


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://example.org/a.wav", "http:// is no kind of address"),
        ("s3://", "cannot be a bucket's name"),
        ("s3:///a", "cannot be a bucket's name"),
        ("s3://Big Bucket/a", "cannot be a bucket's name"),
        ("s3://../a", "cannot be a bucket's name"),
        ("file://host/a", "three slashes"),
        ("file://a", "three slashes"),
    ],
)
def test_what_cannot_be_an_address(given: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        places.normal(given)


def test_a_secret_in_an_address_is_not_repeated() -> None:
    with pytest.raises(Invalid) as caught:
        places.normal("s3://AKIA:secret@bucket/a")
    assert "secret" not in str(caught.value)
    assert "bucket" in str(caught.value)


def test_what_is_an_address() -> None:
    assert places.is_url("s3://bucket")
    assert places.is_url("ftp://host")
    assert not places.is_url("a/b://c")
    assert places.is_object("gcs://bucket")
    assert not places.is_object("file:///a")
    assert places.scheme_of("/s3://x") == ""


def test_parts() -> None:
    assert places.bucket_and_key("s3://bucket/a/b") == ("bucket", "a/b")
    assert places.bucket_and_key("s3://bucket") == ("bucket", "")
    assert places.join("s3://bucket", "", "a", "/b") == "s3://bucket/a/b"
    assert places.join("/data/", "a") == "/data/a"
    assert places.parent("s3://bucket/a/b") == "s3://bucket/a"
    assert places.parent("s3://bucket") == "s3://bucket"
    assert places.name_of("s3://bucket/a/b.wav") == "b.wav"
    assert places.relative("s3://bucket/a/b", "s3://bucket/a") == "b"
    assert places.relative("s3://bucket/a", "s3://bucket/a") == ""
    with pytest.raises(Invalid, match="does not lie in"):
        places.relative("s3://bucket/ab", "s3://bucket/a")


def test_what_addresses_have_in_common() -> None:
    assert places.common(["s3://bucket/a/b", "s3://bucket/a/c"]) == "s3://bucket/a"
    assert places.common(["s3://bucket/a", "s3://bucket/ab"]) == "s3://bucket"
    assert places.common(["s3://bucket/a"]) == "s3://bucket/a"
    assert places.common(["s3://bucket/a", "s3://other/a"]) == ""
    assert places.common(["s3://bucket/a", "gs://bucket/a"]) == ""


@pytest.mark.parametrize(
    ("scheme", "named", "server"),
    [
        ("s3", {}, ""),
        ("s3", {"AWS_ENDPOINT_URL": "http://a/"}, "http://a"),
        ("s3", {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"}, "http://b"),
        ("s3", {"STORAGE_EMULATOR_HOST": "http://c"}, ""),
        ("gs", {"STORAGE_EMULATOR_HOST": "http://c", "AWS_ENDPOINT_URL": "http://a"}, "http://c"),
        ("", {"AWS_ENDPOINT_URL": "http://a"}, ""),
    ],
)
def test_the_server_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, scheme: str, named: dict[str, str], server: str
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert places.server_of(scheme) == server


def test_the_whole_name_of_a_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.absolute("a/../b") == f"{tmp_path}/b"
    assert places.absolute("s3://bucket/a/../b") == "s3://bucket/a/../b"
