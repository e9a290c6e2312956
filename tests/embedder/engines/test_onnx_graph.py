"""What is in an ONNX file, parts of it, and the files that are kept: also when several make them at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedder.engines import installed_engines, open_network
from embedder.engines.kept_files import cache_folder, kept, kept_name
from embedder.engines.onnx_graph import cut, cut_cached, describe
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from tests.embedder.engines import graphs

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: engines)")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SONOTHEQUE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return graphs.dense_onnx(tmp_path / "dense.onnx")


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, np.ndarray]) -> Path:
    held = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, held)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9), path)
    return path


# --- what is in it ------------------------------------------------------------------------------------------------


def test_facts_of_a_graph(path: Path) -> None:
    facts = describe(path)
    assert facts.inputs == {"sound": (None, graphs.WIDTH)}
    assert list(facts.outputs.items()) == [("label", (None, graphs.CLASSES)), ("embedding", (None, graphs.DIM))]
    assert facts.inner == {"product": (None, 8), "sum": (None, 8), "scored": (None, 5)}
    assert facts.opset == 17
    assert facts.ops == {"MatMul": 2, "Add": 2, "Relu": 1}
    assert facts.initializer_bytes == sum(array.nbytes for array in (graphs.W1, graphs.B1, graphs.W2, graphs.B2))
    assert not facts.has_fourier
    assert not facts.is_quantised
    assert describe(path.read_bytes()) == facts


def test_a_fourier_transform_is_seen_and_a_reshape_by_a_constant_is_inferred(tmp_path: Path) -> None:
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [node("Reshape", ["x", "shape"], ["frames"]), node("DFT", ["frames", "", "axis"], ["y"], onesided=1)]
    weights = {"shape": np.array([-1, 4, 16, 1]), "axis": np.array(2)}
    ends = [info("x", 1, ["batch", 64])], [info("y", 1, None)]
    facts = describe(save(tmp_path / "dft.onnx", nodes, *ends, weights))
    assert facts.has_fourier
    assert facts.inner["frames"][1:] == (4, 16, 1)
    assert facts.outputs["y"][1:] == (4, 9, 2)


def test_large_weights_are_known_by_their_shape_alone(tmp_path: Path) -> None:
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    ends = [info("x", 1, ["batch", 512])], [info("y", 1, None)]
    facts = describe(
        save(
            tmp_path / "large.onnx", [node("MatMul", ["x", "w"], ["y"])], *ends, {"w": np.ones((512, 300), np.float32)}
        )
    )
    assert facts.outputs["y"] == (None, 300)


def test_a_network_that_cannot_be_computed_is_invalid(tmp_path: Path) -> None:
    """Which shapes follow is still told: it is for an engine to refuse what does not fit together."""
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    ends = [info("x", 1, ["batch", 511])], [info("y", 1, ["batch", 300])]
    nodes, weights = [node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((512, 300), np.float32)}
    path = save(tmp_path / "wrong.onnx", nodes, *ends, weights)
    assert describe(path).outputs == {"y": (None, 300)}
    for engine in installed_engines():
        if engine in ("onnx", "openvino"):
            with pytest.raises(Invalid, match=r"wrong\.onnx") as caught:
                open_network(engine, path)
            assert caught.value.kind == "invalid_weights"


def test_a_graph_that_names_no_operations_is_invalid(path: Path) -> None:
    model = onnx.load(path)
    del model.opset_import[:]
    onnx.save(model, path)
    with pytest.raises(Invalid, match="opset") as caught:
        describe(path)
    assert caught.value.kind == "invalid_weights"


@pytest.mark.parametrize("share", [0.0, 0.2, 0.99])
def test_a_file_cut_short_is_invalid(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(Invalid) as caught:
        describe(path)
    assert caught.value.kind == "invalid_weights"
    assert str(path) in caught.value.message


def test_no_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing\.onnx"):
        describe(tmp_path / "nothing.onnx")


def test_weights_in_another_file_are_refused_with_the_way_on(path: Path, tmp_path: Path) -> None:
    """Two networks of one graph and other weights would have one hash, and be one in the folder of kept parts."""
    outside = tmp_path / "outside.onnx"
    onnx.save(onnx.load(path), outside, save_as_external_data=True, location="weights.bin", size_threshold=0)
    for content in (outside, outside.read_bytes()):
        with pytest.raises(
            Invalid, match=r"another file \(weights\.bin\).*onnx\.save\(onnx\.load\(FILE\), ONE_FILE\)"
        ) as caught:
            describe(content)
        assert caught.value.kind == "invalid_weights"
    onnx.save(onnx.load(outside), tmp_path / "one.onnx")
    assert describe(tmp_path / "one.onnx") == describe(path)


@pytest.mark.parametrize("place", ["constant", "branch", "sparse"])
def test_weights_in_another_file_are_found_wherever_they_are_named(path: Path, place: str) -> None:
    model = onnx.load(path)
    outer = onnx.numpy_helper.from_array(np.ones(3, np.float32), "outer")
    outer.ClearField("raw_data")
    outer.data_location = onnx.TensorProto.EXTERNAL
    outer.external_data.add(key="location", value="beside.bin")
    constant = onnx.helper.make_node("Constant", [], ["c"], value=outer)
    if place == "constant":
        model.graph.node.append(constant)
    elif place == "branch":
        branch = onnx.helper.make_graph([constant], "branch", [], [])
        model.graph.node.append(onnx.helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch))
    else:
        model.graph.sparse_initializer.add().values.CopyFrom(outer)
    with pytest.raises(Invalid, match=r"beside\.bin"):
        describe(model.SerializeToString())


@pytest.mark.parametrize("kind", [0, 99])
def test_a_weight_of_no_known_type_is_invalid(path: Path, kind: int) -> None:
    model = onnx.load(path)
    model.graph.initializer[1].data_type = kind
    onnx.save(model, path)
    with pytest.raises(Invalid, match=f"dense.onnx is damaged: its weight B1 is of type {kind}") as caught:
        describe(path)
    assert caught.value.kind == "invalid_weights"


# --- cutting ------------------------------------------------------------------------------------------------------


def test_trunk_and_head_together_are_the_whole(path: Path, tmp_path: Path) -> None:
    x = graphs.rows(3)
    trunk = cut(path, ("sound",), ("embedding",), tmp_path / "trunk.onnx")
    head = cut(path, ("embedding",), ("label",), tmp_path / "head.onnx")
    (embedding,) = open_network("onnx", trunk).run(x)
    (label,) = open_network("onnx", head).run(embedding)
    whole = open_network("onnx", path, outputs=("embedding", "label")).run(x)
    assert np.allclose(embedding, whole[0], atol=1e-6)
    assert np.allclose(label, whole[1], atol=1e-6)


def test_what_lies_outside_the_part_is_gone(path: Path, tmp_path: Path) -> None:
    facts = describe(cut(path, ("sound",), ("embedding",), tmp_path / "trunk.onnx"))
    assert facts.ops == {"MatMul": 1, "Add": 1, "Relu": 1}
    assert facts.initializer_bytes < describe(path).initializer_bytes
    facts = describe(cut(path, ("product",), ("embedding", "sum"), tmp_path / "part.onnx"))
    assert facts.inputs == {"product": (None, graphs.DIM)}, "the number of rows stays open"
    assert list(facts.outputs) == ["embedding", "sum"], "in the order asked for"
    assert facts.ops == {"Add": 1, "Relu": 1}


def test_the_original_is_not_changed(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    cut(path, ("sound",), ("embedding",), tmp_path / "trunk.onnx")
    assert path.read_bytes() == before


def test_what_a_branch_takes_from_outside_comes_along(tmp_path: Path) -> None:
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    plus = onnx.helper.make_graph([node("Add", ["half", "outer"], ["p"])], "then", [], [info("p", 1, None)])
    minus = onnx.helper.make_graph([node("Sub", ["half", "outer"], ["m"])], "else", [], [info("m", 1, None)])
    nodes = [
        node("Mul", ["x", "two"], ["half"]),
        node("Mul", ["x", "x"], ["unneeded"]),
        node("If", ["flag"], ["y"], then_branch=plus, else_branch=minus),
    ]
    weights = {"two": np.float32(2).reshape(1), "outer": np.float32(5).reshape(1), "flag": np.array(True)}
    ends = [info("x", 1, ["batch", 3])], [info("y", 1, ["batch", 3]), info("unneeded", 1, ["batch", 3])]
    part = cut(save(tmp_path / "if.onnx", nodes, *ends, weights), ("x",), ("y",), tmp_path / "part.onnx")
    assert describe(part).ops == {"Mul": 1, "If": 1}
    x = graphs.rows(2, 3)
    assert np.allclose(open_network("onnx", part).run(x)[0], 2 * x + 5)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        (("sound",), ("spectrogram",), "no tensor spectrogram"),
        (("front",), ("embedding",), "no tensor front"),
        (("embedding",), ("sum",), "also needs sound"),
        (("W1",), ("embedding",), "no tensor W1"),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused(
    path: Path, tmp_path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...], words: str
) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        cut(path, inputs, outputs, tmp_path / "part.onnx")
    assert caught.value.kind == "invalid_weights"
    assert list(tmp_path.glob("*part*")) == [], "nothing is left behind"


# --- kept files ---------------------------------------------------------------------------------------------------


def test_the_second_asks_for_nothing_but_the_name(path: Path, cache: Path) -> None:
    digest = digest_of(path)
    first = cut_cached(path, digest, ("sound",), ("embedding",))
    assert first.parent == cache / "graphs"
    assert first.name.startswith(digest[:16])
    path.unlink()
    assert cut_cached(path, digest, ("sound",), ("embedding",)) == first
    with pytest.raises(NotFound):
        cut_cached(path, digest, ("sound",), ("label",))


def test_other_files_and_other_cuts_have_other_names(path: Path) -> None:
    names = {
        kept_name(digest * 32, ".onnx", *cut) for digest in ("ab", "cd") for cut in (("a", "b"), ("b", "a"), ("ab",))
    }
    assert len(names) == 6


def test_an_empty_file_is_made_again(path: Path) -> None:
    made = cut_cached(path, digest_of(path), ("sound",), ("embedding",))
    content = made.read_bytes()
    made.write_bytes(b"")
    assert cut_cached(path, digest_of(path), ("sound",), ("embedding",)).read_bytes() == content


def test_processes_that_cut_at_once_all_get_the_whole_file(path: Path, cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from embedder.engines.onnx_graph import cut_cached;"
        "sys.stdin.read(1); made = cut_cached(Path(sys.argv[1]), 'ab' * 32, ('sound',), ('embedding',));"
        "import hashlib; sys.stdout.write(hashlib.sha256(made.read_bytes()).hexdigest() + ' ' + str(made))"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for worker in workers:  # all have been started before the first may begin
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    answers = {worker.communicate(timeout=120)[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    assert len(answers) == 1, "the same path and the same content"
    assert [file.name for file in (cache / "graphs").iterdir()] == [Path(answers.pop().split()[1]).name]


def test_a_worker_that_is_slower_replaces_what_it_finds_whole(cache: Path) -> None:
    def make(unfinished: Path) -> None:
        unfinished.write_text("mine")
        (unfinished.parent / "name.onnx").write_text("of another worker")

    assert kept("name.onnx", make).read_text() == "mine"
    assert [file.name for file in (cache / "graphs").iterdir()] == ["name.onnx"]


def test_a_folder_that_cannot_be_written_to_costs_no_more_than_the_time(path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder would be")
    made = cut_cached(path, digest_of(path), ("sound",), ("embedding",))
    assert cache not in made.parents
    assert open_network("onnx", made).run(graphs.rows(1))[0].shape == (1, graphs.DIM)
    assert cut_cached(path, digest_of(path), ("sound",), ("embedding",)) == made, "made once a process"


def test_a_full_disk_leaves_no_half_file_and_the_temporary_folder_takes_over(cache: Path) -> None:
    tried: list[Path] = []

    def make(unfinished: Path) -> None:
        tried.append(unfinished)
        unfinished.write_text("half")
        if cache in unfinished.parents:
            raise OSError(28, "No space left on device")

    assert kept("full.onnx", make).read_text() == "half"
    assert len(tried) == 2
    assert list((cache / "graphs").iterdir()) == []


def test_no_room_anywhere_is_unavailable_and_says_where(cache: Path) -> None:
    def make(unfinished: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match=r"No space left.*SONOTHEQUE_CACHE") as caught:
        kept("nowhere.onnx", make)
    assert str(cache) in caught.value.message


def test_the_cache_is_in_the_home_folder_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SONOTHEQUE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "sonotheque"


def test_onnx_runtime_leaves_nothing_in_the_home_folder(path: Path, tmp_path: Path) -> None:
    """Its published builds report to their maker, and keep a database and a number of the machine for it."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    code = (
        "import sys; from pathlib import Path; from embedder.engines import open_network;"
        "open_network('onnx', Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, path], env={**environment, "HOME": str(home)}, check=True, timeout=120)
    assert list(home.rglob("*")) == []
