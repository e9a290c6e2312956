"""Segments of an index made by worker processes: the bytes of one process, whatever is killed or missing on the way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from cluster import worker_side
from cluster.backends import WorkerLost
from cluster.dask_tasks import TaskEnd
from cluster.index_dask import DaskSpread, make_remotely, spread_on
from cluster.specs.placing import Placed, place_tasks
from sonotheque.cli.index import _placed
from sonotheque.cli.placing import store_json
from sonotheque.core.errors import Damaged, Invalid, Unavailable
from store import Archive, read_config, read_snapshot
from store.catalog import UnitFault
from store.fsops import LocalFileOps
from store.index import IndexWishes, build_index, update_index, wishes
from store.index.making import Here, VectorsJob
from tests.cluster.support import cli, cluster_file
from tests.index import kit

WISHES = IndexWishes(kind="coded", threads=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return kit.make_world(tmp_path_factory.mktemp("world"))[0]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as found:
        yield found


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wishes, "SEGMENT_ROWS", 200)


def files_of(root: str) -> dict[str, str]:
    """Name -> digest of an index's files, and what its versions name."""
    folder = Path(root, "index", "v1")
    found = {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.iterdir()
        if p.is_file() and p.suffix != ".json"
    }
    for file in folder.glob("*.json"):
        value = json.loads(file.read_text("utf-8"))
        found[file.name] = json.dumps([value[key] for key in ("segments", "clusters", "measured", "chosen")])
    return found


def build(root: str, placed: Placed | None = None, told: Callable[[str, int, int], None] | None = None) -> None:
    with Archive(root) as archive:
        if placed is None:
            build_index(archive, WISHES, told)
            return
        with spread_on(root, placed) as spread:
            build_index(archive, WISHES, told, spread=spread)


@pytest.fixture(scope="module")
def twin(base: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """What one process makes: of the world, and after something was added and something superseded."""
    root = kit.copied(base, tmp_path_factory.mktemp("twin") / "store")
    whole, wishes.SEGMENT_ROWS = wishes.SEGMENT_ROWS, 200  # type: ignore[misc]
    try:
        build(root)
        built = files_of(root)
        changed(root)
        with Archive(root) as archive:
            update_index(archive, workers=1)
    finally:
        wishes.SEGMENT_ROWS = whole  # type: ignore[misc]
    return built, files_of(root)


def changed(root: str) -> None:
    kit.add_fresh(root, read_config(root))
    kit.supersede(root, read_config(root))


def test_two_workers_give_the_bytes_of_one_process(
    base: str, twin: tuple[dict[str, str], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.copied(base, tmp_path / "store")
    monkeypatch.chdir(tmp_path)  # a relative path is the same for workers
    told: list[tuple[str, int, int]] = []
    build("store", place_tasks(workers=2), lambda *one: told.append(one))
    assert files_of("store") == twin[0]
    assert sum(name.startswith("codes") for name in twin[0]) > 3
    for stage in ("vectors", "codes"):
        done = [(a, b) for name, a, b in told if name == stage]
        assert len(done) > 3
        assert done == sorted(done)
        assert done[-1] == (1152, 1152)
    assert not list(Path("store", "_tmp").iterdir())


def test_an_update_on_a_running_scheduler(
    base: str, twin: tuple[dict[str, str], dict[str, str]], tmp_path: Path, scheduler: LocalCluster
) -> None:
    root = kit.copied(base, tmp_path / "store")
    build(root)
    placed = place_tasks(scheduler=scheduler.scheduler_address)
    with Archive(root) as archive, spread_on(root, placed) as spread:
        number = update_index(archive, spread=spread).number
        assert spread._workers is None, "nothing to do asks for no workers"
    changed(root)
    with Archive(root) as archive, spread_on(root, placed) as spread:
        assert update_index(archive, spread=spread).number == number + 1
    assert files_of(root) == twin[1]
    assert not scheduler.scheduler.tasks
    assert set(scheduler.scheduler.worker_plugins) == {"shuffle"}, "Dask's own"


def test_two_builds_on_one_scheduler_know_nothing_of_each_other(
    base: str, twin: tuple[dict[str, str], dict[str, str]], tmp_path: Path, scheduler: LocalCluster
) -> None:
    first, second = kit.copied(base, tmp_path / "first"), kit.copied(base, tmp_path / "second")
    placed = place_tasks(scheduler=scheduler.scheduler_address)
    plugins: list[int] = []

    def other(stage: str, done: int, total: int) -> None:
        if not plugins and stage == "vectors" and done < total:
            build(second, placed)
            plugins.append(len(scheduler.scheduler.worker_plugins))

    build(first, placed, other)
    assert plugins == [2], "Dask's own and the first build's alone, once the second is over"
    assert files_of(first) == files_of(second) == twin[0]
    assert set(scheduler.scheduler.worker_plugins) == {"shuffle"}, "Dask's own"


def test_a_worker_that_is_killed_costs_nothing(
    base: str, twin: tuple[dict[str, str], dict[str, str]], tmp_path: Path, scheduler: LocalCluster
) -> None:
    root = kit.copied(base, tmp_path / "store")
    with Client(scheduler) as client:
        victims = list(client.run(os.getpid).values())
    seen: set[str] = set()

    def kill(stage: str, done: int, total: int) -> None:
        if stage in ("vectors", "codes") and stage not in seen and victims and done < total:
            seen.add(stage)
            os.kill(victims.pop(), signal.SIGKILL)

    build(root, place_tasks(scheduler=scheduler.scheduler_address), kill)
    assert seen == {"vectors", "codes"}
    assert files_of(root) == twin[0]
    assert not list(Path(root, "_tmp").iterdir())


def test_a_segment_that_fails_names_itself(base: str, tmp_path: Path, scheduler: LocalCluster) -> None:
    root = kit.copied(base, tmp_path / "store")
    part = read_snapshot(root).parts[-1]
    os.truncate(f"{root}/{part.embeddings}", 100)
    with pytest.raises(Damaged) as here, Archive(root, skip_damaged=True) as archive:
        build_parts(archive, None)
    placed = place_tasks(scheduler=scheduler.scheduler_address)
    with (
        pytest.raises(UnitFault) as there,
        Archive(root, skip_damaged=True) as archive,
        spread_on(root, placed) as spread,
    ):
        build_parts(archive, spread)
    assert part.embeddings in here.value.message
    assert there.value.relative == part.embeddings
    assert "the vectors of" in there.value.message
    assert "(segment 1 of 1) needs it" in there.value.message
    assert not list(Path(root, "_tmp").iterdir())


def build_parts(archive: Archive, spread: DaskSpread | None) -> None:
    """Make the vectors of the last part, which an archive that was opened whole would have left out."""
    jobs = [VectorsJob(archive.root, archive.config, read_snapshot(archive.root).parts[-1:])]
    (spread or Here(LocalFileOps())).run(jobs, lambda _: None)


@pytest.mark.parametrize(
    ("error", "expected", "said"),
    [
        (WorkerLost("killed 2"), Unavailable, "ended a worker again and again: killed 2"),
        (OSError(5, "Input/output error"), Unavailable, "could not be made: .*Input/output error"),
        (Unavailable("no room", kind="disk_full"), Unavailable, "the codes of 3 parts: no room"),
        (Damaged("x.f16 cannot be mapped"), Damaged, "the codes of 3 parts: x.f16 cannot be mapped"),
        (Invalid("a worker on node1 does not see /data"), Invalid, "the key paths of the cluster file"),
        (KeyError("a fault of the program"), KeyError, "a fault"),
    ],
)
def test_what_a_segment_ended_with(error: Exception, expected: type[Exception], said: str) -> None:
    spread = DaskSpread("/archive", Placed(workers=2))
    with pytest.raises(expected, match=said) as caught:
        spread._read(TaskEnd("0", None, error), "the codes of 3 parts")
    if isinstance(error, Unavailable):
        assert caught.value.kind == "disk_full"  # type: ignore[attr-defined]


# ---- where workers are ------------------------------------------------------------------------------------------------


def ssh_file(folder: Path, **keys: Any) -> str:
    return cluster_file(folder, kind="ssh", scheduler="tcp://here:8786", hosts=["node1"], **keys)


def test_workers_that_see_another_folder_are_refused(base: str, tmp_path: Path, scheduler: LocalCluster) -> None:
    root = kit.copied(base, tmp_path / "store")
    with Client(scheduler) as client:  # nothing comes late here
        client.run(setattr, worker_side, "_SHOWN_AFTER_S", (0.05,))
    file = ssh_file(tmp_path, paths={str(tmp_path): str(tmp_path / "elsewhere")})
    placed = place_tasks(scheduler=scheduler.scheduler_address, cluster=file)
    with pytest.raises(Invalid, match=r"does not see .*/elsewhere/store, .*the key paths"):
        build(root, placed)
    assert not (tmp_path / "elsewhere").exists(), "nothing is made on a node that is set up wrongly"
    assert not list(Path(root, "_tmp").iterdir())


def test_folders_of_the_nodes_are_the_files(
    base: str, twin: tuple[dict[str, str], dict[str, str]], tmp_path: Path, scheduler: LocalCluster
) -> None:
    (tmp_path / "here").mkdir()
    root = kit.copied(base, tmp_path / "here" / "store")
    (tmp_path / "there").symlink_to(tmp_path / "here")
    file = ssh_file(tmp_path, paths={str(tmp_path / "here"): str(tmp_path / "there")})
    build(root, place_tasks(scheduler=scheduler.scheduler_address, cluster=file))
    assert files_of(root) == twin[0]


def test_an_index_kept_on_this_machine_is_not_made_on_others(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOTHEQUE_STATE", str(tmp_path / "state"))
    with pytest.raises(
        Invalid, match=r"s3://bucket/archive lies in an object store, whose index is kept on this machine"
    ):
        DaskSpread("s3://bucket/archive", place_tasks(cluster=ssh_file(tmp_path)))
    DaskSpread("s3://bucket/archive", place_tasks(workers=2))  # of this machine
    job = VectorsJob("s3://bucket/archive", read_config(base), ())
    asked = {"job": job, "home": "/home/somebody/state/archive", "mark": "seen", "threads": 1}
    with pytest.raises(Invalid, match=r"does not see /home/somebody/state/archive, where the index of s3://bucket"):
        make_remotely(asked)


def test_the_command_line(base: str, tmp_path: Path) -> None:
    root = kit.copied(base, tmp_path / "store")
    local = tmp_path / "local.yaml"
    local.write_text("kind: local\nworkers: 1\nthreads: 2\n", "utf-8")
    dry = cli("index", "build", "--store", root, "--cluster", ssh_file(tmp_path), "--dry-run")
    assert "by ssh on each of 1 hosts" in dry.stdout, dry.stderr
    assert not Path(root, "index").exists()
    done = cli("index", "build", "--store", root, "--kind", "coded", "--cluster", local, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["windows"] == 1152
    with pytest.raises(Invalid, match=r"--workers 2 beside --cluster .*the file says that"):
        _placed(2, None, str(local))
    with pytest.raises(Invalid, match="--workers 0: at least 1"):
        _placed(0, None, None)
    told = store_json(_placed(None, "tcp://here:1", ssh_file(tmp_path, paths={root: "/data"})), root)
    assert told
    assert (told["kind"], told["scheduler"], told["folders"]) == ("ssh", "tcp://here:1", {root: "/data"})
