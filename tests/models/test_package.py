"""The README's example runs, class lists and digests are read as written down, and the house rules hold here."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path

import pytest

from embedder.models.perch_weights import class_file, folder_digest, local_folder, read_classes
from sonotheque.core.errors import Invalid
from sonotheque.core.ids import file_sha256

PACKAGE = Path(__file__).parents[2] / "embedder" / "models"
MODULES = sorted(PACKAGE.glob("*.py"))


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    """The files of a SavedModel folder, with nothing in them that TensorFlow could load."""
    for part in ("variables", "assets"):
        (tmp_path / part).mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "variables.index").write_bytes(b"index")
    (tmp_path / "assets" / "labels.csv").write_text("inat2024_fsd50k\nTurdus merula\nRain\n", encoding="utf-8")
    return tmp_path


def test_the_readme_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, object] = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    assert names["best"] in names["model"].classes  # type: ignore[attr-defined]
    assert names["scores"].shape == (3, 3)  # type: ignore[attr-defined]


def test_a_whole_folder_is_taken(saved_model: Path) -> None:
    assert local_folder(str(saved_model)) == saved_model


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("space\nA\nB\n", ("A", "B")),
        ("space\nA\nB", ("A", "B")),
        ("space\r\nA\r\nB\r\n", ("A", "B")),
        ("space,common\nA,first\nB,second\n", ("A", "B")),
        ('space\n"Shatter, glass"\nB\n', ("Shatter, glass", "B")),
        ("space\nA\n\nB\n\n", ("A", "B")),
        ("space\nGrünspecht\n", ("Grünspecht",)),
        ("space\n", ()),
        ("", ()),
    ],
)
def test_class_lists(saved_model: Path, text: str, classes: tuple[str, ...]) -> None:
    (saved_model / "assets" / "labels.csv").write_bytes(text.encode())
    assert read_classes(saved_model) == classes


def test_the_list_of_names_goes_before_the_others(saved_model: Path) -> None:
    for name in ("genus.csv", "label.csv", "perch_v2_ebird_classes.csv"):
        (saved_model / "assets" / name).write_text("other\nwrong\n")
    found = class_file(saved_model)
    assert found is not None
    assert found.name == "labels.csv"
    (saved_model / "assets" / "labels.csv").unlink()
    assert read_classes(saved_model) == ("wrong",)


def test_no_list_is_an_error_that_names_both_files(saved_model: Path) -> None:
    (saved_model / "assets" / "labels.csv").unlink()
    for call in (lambda: read_classes(saved_model), lambda: local_folder(str(saved_model))):
        with pytest.raises(Invalid) as caught:
            call()
        assert caught.value.kind == "invalid_weights"
        assert "labels.csv" in caught.value.message
        assert "label.csv" in caught.value.message


def test_the_digest_is_the_one_described(saved_model: Path) -> None:
    names = ["assets/labels.csv", "saved_model.pb", "variables/variables.index"]
    text = "".join(f"{name}\0{file_sha256(saved_model / name)}\n" for name in names)
    assert folder_digest(saved_model) == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_sees_every_change_that_counts(saved_model: Path) -> None:
    seen = {folder_digest(saved_model)}
    for change in (
        lambda: (saved_model / "saved_model.pb").write_bytes(b"graph2"),
        lambda: (saved_model / "variables" / "variables.index").write_bytes(b"index2"),
        lambda: (saved_model / "assets" / "more.csv").write_text("x"),
        lambda: (saved_model / "assets" / "more.csv").rename(saved_model / "assets" / "renamed.csv"),
    ):
        before = len(seen)
        change()
        seen.add(folder_digest(saved_model))
        assert len(seen) == before + 1
    before = len(seen)
    for name in ("README.md", ".DS_Store", "fingerprint.pb"):
        (saved_model / name).write_text("beside the model")
    assert len(seen | {folder_digest(saved_model)}) == before


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_engines_are_imported_inside_functions_of_their_adapter(file: Path) -> None:
    homes = {
        "tensorflow": {"perch.py"},
        "kagglehub": {"perch_weights.py"},
        "requests": {"perch_weights.py"},
        "huggingface_hub": {"hub.py"},
        "onnx": set(),
        "onnxruntime": set(),
        "openvino": set(),
        "ai_edge_litert": {"birdnet_graph.py"},
        "flatbuffers": {"birdnet_graph.py"},
    }
    tree = ast.parse(file.read_text(encoding="utf-8"))

    def imported(nodes: list[ast.AST]) -> set[str]:
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        return {name.partition(".")[0] for name in names}

    assert not imported(list(tree.body)) & set(homes)
    for engine in imported(list(ast.walk(tree))) & set(homes):
        assert file.name in homes[engine]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_modules_and_functions_stay_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 70, node.name
