"""What every engine must do. An engine's test class inherits this and says what to open and with what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedder.engines import Network, installed_engines, open_network
from sonotheque.core.errors import Invalid, NotFound
from tests.embedder.engines import graphs


class EngineContract:
    """Subclasses name the engine, the maker of its file and the end of that file's name."""

    engine = ""
    suffix = ""
    make: Callable[[Path], Path]
    #: fp32 sums in another order: about 1e-6 of the largest value for sums of 64 terms.
    tolerance = 1e-5

    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        if cls.engine not in installed_engines():
            pytest.skip(f"the library of {cls.engine} is not installed")
        return cls.make(tmp_path_factory.mktemp(cls.engine) / f"dense{cls.suffix}")

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls, path: Path) -> Network:
        return open_network(cls.engine, path, outputs=("embedding", "label"))

    @pytest.mark.parametrize("n", [1, 3, 8, 3, 1])
    def test_any_number_of_rows_gives_what_numpy_gives(self, network: Network, n: int) -> None:
        x = graphs.rows(n, seed=n)
        found = network.run(x)
        for array, expected in zip(found, graphs.twin(x), strict=True):
            assert array.dtype == np.float32
            assert array.shape == expected.shape
            assert np.abs(array - expected).max() <= self.tolerance * np.abs(expected).max()

    def test_a_row_is_the_same_in_any_batch(self, network: Network) -> None:
        x = graphs.rows(8)
        together = [array.copy() for array in network.run(x)]
        for at, row in enumerate(x):
            for array, alone in zip(together, network.run(row[None]), strict=True):
                assert np.allclose(array[at], alone[0], rtol=0, atol=self.tolerance * np.abs(array).max())

    def test_outputs_come_in_the_order_asked_for(self, path: Path) -> None:
        x = graphs.rows(2)
        for names in (("label", "embedding"), ("embedding", "label"), ("label",), ("embedding",)):
            found = open_network(self.engine, path, outputs=names).run(x)
            widths = {"embedding": graphs.DIM, "label": graphs.CLASSES}
            assert [array.shape for array in found] == [(2, widths[name]) for name in names]

    def test_all_outputs_come_in_the_order_of_the_file(self, path: Path) -> None:
        found = open_network(self.engine, path).run(graphs.rows(2))
        assert [array.shape[1] for array in found] == [graphs.CLASSES, graphs.DIM]

    def test_a_copy_of_an_output_outlives_the_next_run(self, network: Network) -> None:
        x = graphs.rows(3)
        kept = network.run(x)[0].copy()
        network.run(graphs.rows(3, seed=9))
        network.run(graphs.rows(5, seed=9))
        assert np.array_equal(kept, network.run(x)[0])

    def test_the_input_is_not_written_to_and_may_be_reused(self, network: Network) -> None:
        buffer = graphs.rows(4)
        before = buffer.copy()
        network.run(buffer)
        assert np.array_equal(buffer, before)
        buffer[:] = graphs.rows(4, seed=5)
        expected = graphs.twin(graphs.rows(4, seed=5))[0]
        assert np.allclose(network.run(buffer)[0], expected, atol=self.tolerance * np.abs(expected).max())

    def test_a_view_with_strides_gives_the_same(self, network: Network) -> None:
        wide = graphs.rows(6)
        expected = [array.copy() for array in network.run(np.ascontiguousarray(wide[::2]))]
        for one, two in zip(expected, network.run(wide[::2]), strict=True):
            assert np.array_equal(one, two)

    def test_bytes_give_what_the_file_gives(self, path: Path, network: Network) -> None:
        x = graphs.rows(3)
        expected = [array.copy() for array in network.run(x)]
        found = open_network(self.engine, path.read_bytes(), outputs=("embedding", "label")).run(x)
        assert all(np.array_equal(one, two) for one, two in zip(expected, found, strict=True))

    def test_it_says_what_it_runs_on(self, network: Network) -> None:
        assert network.precision == "fp32"
        assert network.runtime.device.split(":")[0] in ("CPU", "GPU")
        assert network.runtime.threads == 1
        assert any(figure.isdigit() for figure in network.runtime.engine), "it names a version"

    # --- what cannot be right -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("shape", [(2, graphs.WIDTH + 1), (graphs.WIDTH,), (2, graphs.WIDTH, 1)])
    def test_another_width_is_refused_with_both_shapes(self, network: Network, shape: tuple[int, ...]) -> None:
        with pytest.raises(Invalid) as caught:
            network.run(np.zeros(shape, np.float32))
        assert str(shape) in caught.value.message
        assert f"(any, {graphs.WIDTH})" in caught.value.message
        assert network.run(graphs.rows(1))[0].shape == (1, graphs.DIM), "it works on afterwards"

    def test_another_dtype_is_refused(self, network: Network) -> None:
        with pytest.raises(Invalid, match="float64"):
            network.run(graphs.rows(1).astype(np.float64))  # type: ignore[arg-type]

    def test_no_rows_are_refused(self, network: Network) -> None:
        with pytest.raises(Invalid, match="at least one row"):
            network.run(np.empty((0, graphs.WIDTH), np.float32))

    def test_an_output_that_is_not_there_is_named_with_those_that_are(self, path: Path) -> None:
        with pytest.raises(Invalid, match=r"no output spectrogram; it has label, embedding") as caught:
            open_network(self.engine, path, outputs=("embedding", "spectrogram"))
        assert caught.value.kind == "invalid_weights"

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_a_file_cut_short_is_invalid(self, path: Path, tmp_path: Path, share: float) -> None:
        content = path.read_bytes()
        short = tmp_path / f"short{self.suffix}"
        short.write_bytes(content[: int(len(content) * share)])
        for given in (short, short.read_bytes()):
            with pytest.raises(Invalid) as caught:
                open_network(self.engine, given)
            assert caught.value.kind == "invalid_weights"
            assert str(short if isinstance(given, Path) else len(given)) in caught.value.message

    def test_a_file_of_another_kind_is_invalid(self, tmp_path: Path, path: Path) -> None:
        other = tmp_path / f"page{self.suffix}"
        other.write_text("<!doctype html><title>404</title>")
        with pytest.raises(Invalid, match=r"neither an ONNX nor a LiteRT") as caught:
            open_network(self.engine, other)
        assert caught.value.kind == "invalid_weights"

    def test_no_file_is_not_found(self, tmp_path: Path, path: Path) -> None:
        with pytest.raises(NotFound) as caught:
            open_network(self.engine, tmp_path / f"nothing{self.suffix}")
        assert caught.value.kind == "no_weights"

    def test_a_device_that_does_not_exist_is_refused(self, path: Path) -> None:
        with pytest.raises(Invalid, match=r"tpu.*auto, cpu, gpu"):
            open_network(self.engine, path, device="tpu")
