"""Real processes are killed, frozen and crashed at seeded moments; what is left in the end is what a quiet run leaves, byte for byte."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from tests.chaos.deeds import deeds_of
from tests.chaos.stage import Stage
from tests.chaos.sweep import run_seed

SEEDS = 20


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # some of it dies by SIGSEGV
    built = Stage.build(tmp_path_factory.mktemp("chaos"))
    yield built
    built.close()
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_disturbed_run_ends_as_a_quiet_one(stage: Stage, seed: int) -> None:
    found = run_seed(stage, seed)
    if found["faults"]:
        stage.renew()
    assert found["faults"] == [], found
    assert found["deeds"][0]["kind"] == str(deeds_of(seed, stage.clean.parts)[0].kind), "the run was not hit"
    assert (found["lost"], found["doubled"], found["different"]) == (0, 0, 0)
