"""Where recordings lie: found below their folders and nowhere else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.locating import Locator
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.recording import printable_path


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "recordings"
    (folder / "A").mkdir(parents=True)
    (folder / "A" / "x.wav").write_bytes(b"x")
    (tmp_path / "secret.wav").write_bytes(b"s")
    return folder


def locator(root, prefix="", **options):
    return Locator(((str(root), prefix),), **options)


def test_a_recording_is_found(root):
    assert locator(root).find("A/x.wav") == str(root / "A" / "x.wav")


@pytest.mark.parametrize(
    "path",
    ["../secret.wav", "A/../../secret.wav", "/etc/passwd", "A//x.wav", "./A/x.wav", "", "A/x.wav\x00.wav", "A/.."],
)
def test_no_path_leads_out(root, path):
    with pytest.raises(Invalid, match="nothing outside is read"):
        locator(root).find(path)


@given(st.lists(st.sampled_from(["..", ".", "A", "x.wav", "", "secret.wav", "~"]), max_size=6).map("/".join))
def test_no_mixture_of_parts_leads_out(tmp_path_factory, path):
    folder = tmp_path_factory.getbasetemp() / "mixture" / "recordings"
    (folder / "A").mkdir(parents=True, exist_ok=True)
    (folder / "A" / "x.wav").touch()
    (folder.parent / "secret.wav").touch()
    try:
        found = locator(folder).find(path)
    except (Invalid, NotFound):
        return
    assert os.path.realpath(found).startswith(str(folder.resolve()) + "/")


def test_links_that_lead_out_are_followed_on_request_only(root):
    (root / "A" / "out.wav").symlink_to(root.parent / "secret.wav")
    (root / "B").symlink_to(root.parent)
    (root / "in.wav").symlink_to(root / "A" / "x.wav")
    for path in ("A/out.wav", "B/secret.wav"):
        with pytest.raises(Invalid, match="--follow-links"):
            locator(root).find(path)
        assert locator(root, follow_links=True).find(path) == str(root.parent / "secret.wav")
    assert locator(root).find("in.wav") == str(root / "A" / "x.wav")


def test_a_root_that_is_a_link_itself_is_fine(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert locator(tmp_path / "link").find("A/x.wav") == str(root / "A" / "x.wav")


def test_what_is_not_there_says_where_it_was_looked_for(root):
    with pytest.raises(NotFound, match=r"A/y\.wav is not below .*recordings; .*--recordings"):
        locator(root).find("A/y.wav")
    with pytest.raises(NotFound, match="any known folder"):
        Locator(()).find("A/y.wav")


def test_prefixes_are_taken_off(root):
    assert locator(root, "2024/north").find("2024/north/A/x.wav") == str(root / "A" / "x.wav")
    with pytest.raises(NotFound):
        locator(root, "2024/north").find("A/x.wav")
    with pytest.raises(NotFound):
        locator(root, "2024/north").find("2024/northern/A/x.wav")


def test_several_folders_are_tried_in_order(root, tmp_path):
    (tmp_path / "newer" / "A").mkdir(parents=True)
    both = Locator(((str(tmp_path / "newer"), ""), (str(root), "")))
    assert both.find("A/x.wav") == str(root / "A" / "x.wav")
    assert both.told(["A/x.wav", "A/z.wav"]) == [str(root / "A" / "x.wav"), str(tmp_path / "newer" / "A" / "z.wav")]


def test_names_that_are_not_utf_8(root):
    raw = os.fsdecode(b"\xff\xfe.wav")
    (root / raw).write_bytes(b"x")
    stored = printable_path(raw)
    assert "\\udcff" in stored
    assert locator(root).find(stored) == str(root / raw)


def test_a_name_that_only_looks_like_one_is_itself(root):
    (root / "\\udcff.wav").write_bytes(b"x")
    assert locator(root).find("\\udcff.wav") == str(root / "\\udcff.wav")


def test_a_folder_and_a_pipe_are_no_recordings(root):
    os.mkfifo(root / "pipe.wav")
    for path in ("A", "pipe.wav"):
        with pytest.raises(NotFound):
            locator(root).find(path)


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("/data/birds", "/data/birds/A/x.wav"),
        ("/data/birds/", "/data/birds/A/x.wav"),
        ("D:\\audio", "D:\\audio\\A\\x.wav"),
        ("\\\\nas\\audio\\", "\\\\nas\\audio\\A\\x.wav"),
    ],
)
def test_places_told_to_other_programs(folder, place):
    assert Locator(((folder, ""),)).told(["A/x.wav"]) == [place]


def test_a_path_that_no_prefix_fits_is_told_as_it_is():
    assert Locator((("/data", "north"),)).told(["south/x.wav", "north/x.wav"]) == ["south/x.wav", "/data/x.wav"]


def test_roots_that_are_gone_are_an_error_before_the_work(root, tmp_path):
    locator(root).require_there()
    with pytest.raises(NotFound, match="--recordings DIR"):
        locator(tmp_path / "gone").require_there()
    with pytest.raises(NotFound, match="none is known"):
        Locator(()).require_there()
