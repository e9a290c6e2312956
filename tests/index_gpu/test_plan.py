"""The plan ``gpu`` of a search, with devices' twins on the CPU: hits, scores and order are those of the exact search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from store import open_archive, part_id
from store.archive import Archive
from store.index import IndexWishes, SearchIndex, SearchQuery, build_index, device, on_gpu, open_index
from store.index.device import HostDevice
from tests.ask import worlds
from tests.store import kit

DIM = 32


def committed(root: str, config: Any, site: str, windows: int, *, replaces: str = "") -> str:
    """Commit a part of four recordings, or of the first one's second version; return its id."""
    version, old = (2, [replaces]) if replaces else (1, [])
    items = [(kit.recording(f"{site}/a.wav", site=site, version=version, replaces=old), windows)]
    if not replaces:
        items += [(kit.recording(f"{site}/{n}.wav", site=site), windows) for n in range(3)]
    kit.write_part(root, config, items, site=site)
    worlds.snapshot(root, config)
    return part_id(config.digest, sorted((rec for rec, _ in items), key=lambda rec: rec.source.path))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Three sites in an index; one of them replaced in part, and one more committed, after it was built."""
    root, config = kit.new_store(tmp_path_factory.mktemp("gpu"), kit.store_config(dim=DIM))
    parts = {site: committed(root, config, site, 60) for site in "ABC"}
    with open_archive(root) as first:
        build_index(first, IndexWishes(kind="coded"))
    committed(root, config, "B", 50, replaces=parts["B"])
    committed(root, config, "D", 20)
    with open_archive(root) as opened:
        yield opened


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make devices' twins of what this process sees."""
    monkeypatch.setattr(device, "_turned_off", [])
    monkeypatch.setattr(on_gpu, "LEAST_ROWS", 1)
    monkeypatch.setattr(on_gpu, "gpu_reason", device.turned_off)
    monkeypatch.setattr(on_gpu, "gpu_devices", lambda: [(0, "host", 1, 1), (1, "host", 1, 1)])
    monkeypatch.setattr(on_gpu, "CudaDevice", lambda _: HostDevice((2 << 30) + 2 * DIM * 500))


@pytest.fixture
def index(archive: Archive) -> Iterator[SearchIndex]:
    opened = open_index(archive, gpu="now")
    yield opened
    opened.close()


def asked(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def told(index: SearchIndex, query: SearchQuery) -> tuple[str, list[tuple[Any, ...]]]:
    answer = index.search(query)
    return answer.plan.how, [(h.rank, h.path, h.start_sample, h.score, h.query) for h in answer.hits]


FILTERS = (None, SearchFilter.from_texts({"sites": "B"}), SearchFilter.from_texts({"sites": ["A", "D"]}))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    windows=st.integers(1, 3),
    k=st.integers(1, 900),
    combine=st.sampled_from(["best", "mean"]),
    where=st.sampled_from(FILTERS),
    more=st.sampled_from([{}, {"best_per": "recording"}, {"best_per": "site"}, {"distinct": 0.4}]),
)
def test_hits_are_those_of_the_exact_search(
    index: SearchIndex,
    archive: Archive,
    seed: int,
    windows: int,
    k: int,
    combine: str,
    where: SearchFilter | None,
    more: dict[str, Any],
) -> None:
    query = {"k": k, "combine": combine, "where": where, **more}
    how, hits = told(index, SearchQuery(asked(windows, seed), **query))
    exact = told(open_index(archive, gpu="off"), SearchQuery(asked(windows, seed), exact=True, **query))
    assert hits == exact[1]
    assert how == "gpu"


def test_the_gpu_is_used_and_says_so(index: SearchIndex) -> None:
    answer = index.search(SearchQuery(asked(1), k=5))
    assert (answer.plan.how, answer.plan.recall, answer.plan.compared) == ("gpu", 1.0, answer.plan.eligible)
    assert answer.plan.fresh > 0
    assert all(hit.exact for hit in answer.hits)


def test_rows_of_a_replaced_recording_are_not_found(index: SearchIndex) -> None:
    answer = index.search(SearchQuery(asked(1), k=2_000, where=SearchFilter.from_texts({"sites": "B"})))
    assert answer.plan.how == "gpu"
    assert len(answer.hits) == answer.plan.eligible == 3 * 60 + 50


def test_few_rows_and_nothing_are_left_to_the_cpu(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "LEAST_ROWS", 100_000)
    assert index.search(SearchQuery(asked(1), k=5)).plan.how == "exact"
    monkeypatch.setattr(on_gpu, "LEAST_ROWS", 0)
    assert index.search(SearchQuery(asked(1), k=0)).plan.how == "nothing"


def test_a_set_that_does_not_fit_is_searched_by_the_cpu_with_a_note(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_gpu, "CudaDevice", lambda _: HostDevice(2 << 30))
    full = open_index(archive, gpu="now")
    answer = full.search(SearchQuery(asked(1), k=5))
    assert answer.plan.how == "exact"
    assert answer.plan.notes[-1] == "720 windows need 0.0 GB of GPU memory, 0.0 GB are free: the CPU searches"
    full.close()


def test_a_search_in_which_the_gpu_fails_is_answered(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> Any:
        raise RuntimeError("CUDA error 719 unspecified launch failure")

    query = SearchQuery(asked(1), k=7)
    before = told(index, query)
    monkeypatch.setattr(HostDevice, "nearest", lost)
    for _ in range(2):
        answer = index.search(query)
        assert answer.plan.how == "exact"
        assert (
            answer.plan.notes[-1]
            == "the GPU failed (CUDA error 719 unspecified launch failure): the CPU searches from here on"
        )
        assert len([n for n in answer.plan.notes if "GPU" in n]) == 1
    assert before[0] == "gpu"
    assert told(index, query)[1] == before[1]


def test_searches_with_the_gpu_switched_off_are_the_cpus(archive: Archive) -> None:
    never = open_index(archive, gpu="off")
    answers = [never.search(SearchQuery(asked(1), k=5)).plan for _ in range(3)]
    assert {p.how for p in answers} == {"exact"}
    assert not any("GPU" in note for p in answers for note in p.notes)


def test_an_unknown_word_is_refused(archive: Archive) -> None:
    with pytest.raises(Invalid, match="gpu is 'yes': expected one of auto, now, off"):
        open_index(archive, gpu="yes")
