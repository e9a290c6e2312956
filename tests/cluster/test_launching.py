"""Clusters that a run starts by itself: the keeping of places, draining, and whole runs on stand-ins for what starts them.

The real ones, an sshd and a SLURM, are in tests/clusters_real.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import asyncssh
import psutil
import pytest
import yaml
from distributed import Client, KilledWorker, LocalCluster, Security
from distributed.scheduler import NoWorkerError

import cluster.launching.launch
from cluster.dask_backend import DaskBackend
from cluster.dask_cluster import DaskWorkers
from cluster.launching import batch, draining, ready
from cluster.launching.batch import read_qstat, read_squeue, watcher_of
from cluster.launching.hosts import HostWorkers, watch
from cluster.launching.keeping import TRIES, Keeper, Phase, Place, State
from cluster.launching.pods import Pods
from cluster.launching.ready import require_ready
from cluster.payload import ModelChoice
from cluster.run import embed
from cluster.specs.kinds import Gpu, Kubernetes, Pbs, Ssh
from cluster.specs.read import read_cluster
from cluster.status import job_status
from cluster.supervising import PASSING_KINDS
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from tests.cluster.support import cli_env, cluster_file, make_archive, options, part_files, run, wait_for
from tests.clusters_real.kit_ssh import free_port

# ---- keeping ----------------------------------------------------------------------------------------------------------


@dataclass
class FakePlace:
    title: str
    refuses: str | None = None
    state: State = field(default_factory=lambda: State(Phase.WAITING, "PENDING (Priority)"))
    shut_down: bool = False

    async def open(self) -> None:
        if self.refuses:
            raise RuntimeError(self.refuses)

    async def shut(self) -> None:
        self.shut_down = True


class Farm:
    """A keeper over fake places, and a clock that is moved by hand."""

    def __init__(self, places: int, *, refuses: str | None = None, workers_each: int = 2) -> None:
        self.made: list[FakePlace] = []
        self.now, self.workers, self.refuses = 100.0, 0, refuses
        makers: list[Callable[[], Place]] = [self.make] * places
        self.keeper = Keeper(makers, self.watch, lambda: self.workers, workers_each, 60.0, clock=lambda: self.now)
        asyncio.run(self.keeper.begin())

    def make(self) -> Place:
        self.made.append(FakePlace(f"job {len(self.made) + 1}", self.refuses))
        return self.made[-1]

    async def watch(self, places: Sequence[Place]) -> Sequence[State]:
        return [place.state for place in places if isinstance(place, FakePlace)]

    def look(self, after_s: float = 40.0) -> None:
        self.now += after_s
        asyncio.run(self.keeper.look())

    def end(self, *numbers: int) -> None:
        for number in numbers:
            self.made[number - 1].state = State(Phase.ENDED, "over")

    @property
    def told(self) -> list[str]:
        return [self.keeper.notes.get() for _ in range(self.keeper.notes.qsize())]


def test_all_places_are_started_and_ended() -> None:
    farm = Farm(3)
    assert farm.told == ["job 1: started", "job 2: started", "job 3: started"]
    asyncio.run(farm.keeper.end())
    assert all(place.shut_down for place in farm.made)


def test_what_ends_is_started_again_while_there_is_work_for_it() -> None:
    farm = Farm(3)
    farm.workers, farm.keeper.in_flight = 6, 16
    farm.end(2)
    farm.look()
    farm.look()
    assert farm.told[3:] == ["job 2: ended, over", "job 4: started"]
    farm.keeper.in_flight = 3  # work for two places of two workers
    farm.end(1, 3, 4)
    farm.look()
    farm.look()
    assert len(farm.made) == 6
    farm.keeper.in_flight = 0
    farm.end(5, 6)
    farm.look()
    farm.look()
    assert len(farm.made) == 6
    assert farm.keeper.trouble is None


def test_an_end_without_progress_is_not_repeated_for_ever() -> None:
    farm = Farm(2)
    farm.keeper.in_flight = 8
    for _ in range(20):
        farm.end(*range(1, len(farm.made) + 1))
        farm.look()
    assert len(farm.made) == TRIES * 2
    assert isinstance(farm.keeper.trouble, Unavailable)
    assert farm.keeper.trouble.kind == "workers_lost"
    assert "ended, over" in farm.keeper.trouble.message
    assert "sonotheque resume" in farm.keeper.trouble.message


def test_progress_makes_ends_forgotten() -> None:
    farm = Farm(2)
    farm.keeper.in_flight = 8
    for _ in range(20):
        farm.end(*range(1, len(farm.made) + 1))
        farm.keeper.progressed()
        farm.look()
    assert farm.keeper.trouble is None
    assert len(farm.made) > TRIES * 2


@pytest.mark.parametrize("seconds_a_part", [3, 1000])
def test_a_place_that_refuses_is_not_tried_more_often_because_others_work(seconds_a_part: int) -> None:
    farm = Farm(1)
    farm.keeper = Keeper(
        [farm.make, lambda: FakePlace("bad", "Permission denied")],
        farm.watch,
        lambda: 1,
        1,
        300.0,
        clock=lambda: farm.now,
    )
    asyncio.run(farm.keeper.begin())
    farm.made[-1].state = State(Phase.RUNNING)
    farm.keeper.in_flight = 8
    for second in range(3600):
        if second % seconds_a_part == 0:
            farm.keeper.progressed()
        farm.look(1.0)
    told = [text for text in farm.told if text.startswith("bad")]
    assert told[0] == "bad: not started: Permission denied"
    assert told[1:] in (["bad: not started: Permission denied (10 times by now)"], []), "once, and then with a count"
    assert farm.keeper._said[told[0]] <= 25
    assert farm.keeper.trouble is None


def test_a_place_that_ran_for_a_while_is_started_again_at_once_and_told_each_time() -> None:
    farm = Farm(1)
    farm.keeper.in_flight = 8
    for number in range(1, 8):
        farm.made[-1].state = State(Phase.RUNNING)
        farm.look(1.0)
        farm.keeper.progressed()
        farm.look(30.0)
        farm.end(number)
        farm.look(1.0)
        farm.look(1.1)
        assert len(farm.made) == number + 1
    assert [text for text in farm.told if "ended" in text] == [f"job {n}: ended, over" for n in range(1, 8)]
    farm.end(8)
    farm.look(1.0)
    assert farm.keeper._slots[0].failures == 1, "this one ended before it had run"


def test_a_connection_that_is_gone_when_it_is_shut() -> None:
    closed = []

    class Gone:
        def terminate(self) -> None:
            raise OSError("Channel not open")

        kill = terminate

        def close(self) -> None:
            closed.append(self)

    async def scene() -> None:
        place = HostWorkers(Ssh(scheduler="tcp://a:1", hosts=("b",)), "b")
        place.proc = place.connection = Gone()
        place._reading = asyncio.create_task(asyncio.sleep(60))
        await place.shut()
        place._reading.cancel()

    asyncio.run(scene())
    assert closed


def test_a_host_whose_command_ended_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody shuts a place that has ended: the keeper only starts another."""
    opened: list[Connection] = []

    class Process:
        stdout: AsyncIterator[str]

        def __init__(self) -> None:
            self.stdout = self.lines()

        async def lines(self) -> AsyncIterator[str]:
            yield "no module named dask\n"

        async def wait_closed(self) -> None:
            return None

        def kill(self) -> None:
            return None

    class Connection:
        closed = 0

        def __init__(self) -> None:
            opened.append(self)

        async def create_process(self, *_: object, **__: object) -> Process:
            return Process()

        def close(self) -> None:
            self.closed += 1

    async def connect(*_: object, **__: object) -> Connection:
        return Connection()

    async def scene() -> None:
        await keeper.begin()
        await asyncio.sleep(0.05)
        await keeper.look()
        assert "ended, no module named dask" in keeper._last
        assert [connection.closed for connection in opened] == [1]
        await keeper.end()

    monkeypatch.setattr(asyncssh, "connect", connect)
    host = Ssh(scheduler="tcp://a:1", hosts=("b",))
    keeper = Keeper([lambda: HostWorkers(host, "b")], watch, lambda: 0, 1, 300.0)
    asyncio.run(scene())


def test_the_next_start_waits_longer_each_time() -> None:
    farm = Farm(1, refuses="Invalid partition")
    farm.look(0.5)
    assert len(farm.made) == 1
    farm.look(0.6)
    assert len(farm.made) == 2
    farm.look(1.5)
    assert len(farm.made) == 2
    farm.look(0.6)
    assert len(farm.made) == 3
    farm.look()
    assert farm.keeper.trouble is not None
    assert "job 3: not started: Invalid partition" in farm.keeper.trouble.message


def test_a_long_wait_is_told_with_the_queues_words_and_then_less_often() -> None:
    farm = Farm(2)
    assert len(farm.told) == 2
    told = []
    for _ in range(8):
        farm.look(30.0)
        told += [(farm.now, text) for text in farm.told]
    assert [at for at, _ in told] == [190.0, 250.0]
    assert told[0][1].startswith("no worker for 60 s (waits PENDING (Priority)). The run goes on waiting")
    farm.made[0].state = State(Phase.RUNNING, "RUNNING")
    farm.look(400.0)
    assert "What runs does not reach the scheduler" in farm.told[0]
    farm.workers = 1
    farm.look()
    farm.workers = 0
    farm.look()
    assert farm.told == [], "the time counts from the last worker"


def test_squeue_is_read() -> None:
    found = read_squeue("12|PENDING|Resources\n13|RUNNING|None\n 14|COMPLETING|None\n15|TIMEOUT|TimeLimit\n\n")
    assert found == {
        "12": State(Phase.WAITING, "PENDING (Resources)"),
        "13": State(Phase.RUNNING, "RUNNING"),
        "14": State(Phase.RUNNING, "COMPLETING"),
        "15": State(Phase.ENDED, "TIMEOUT (TimeLimit)"),
    }


def test_qstat_is_read() -> None:
    table = (
        "Job id            Name             User              Time Use S Queue\n"
        "----------------  ---------------- ----------------  -------- - -----\n"
        "7.server          sonotheque       me                00:00:10 R workq\n"
        "8.server          sonotheque       me                       0 Q workq\n"
        "9[].server        sonotheque       me                       0 F workq\n"
    )
    assert {job: state.phase for job, state in read_qstat(table).items()} == {
        "7": Phase.RUNNING,
        "8": Phase.WAITING,
        "9": Phase.ENDED,
    }
    assert read_qstat("") == {}


def test_files_that_ssh_needs_are_named() -> None:
    with pytest.raises(NotFound, match=r"identity: there is no file /no/key"):
        require_ready(Ssh(scheduler="tcp://a:1", hosts=("b",), identity="/no/key"))


# ---- draining ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("walltime", "expected"), [(12 * 3600, (42_600, 43_170)), (600, (300, 570)), (60, (30, 50)), (1800, (1200, 1770))]
)
def test_when_workers_leave(walltime: float, expected: tuple[float, float]) -> None:
    assert draining.limits(walltime) == expected


def test_when_a_job_began() -> None:
    assert draining.began_at({"SONOTHEQUE_JOB_BEGAN": "1700000000"}) == 1_700_000_000
    assert 0 < draining.began_at({}) < time.time()
    assert 0 < draining.began_at({"SONOTHEQUE_JOB_BEGAN": "now"}) < time.time()


BEGUN, GO_ON = threading.Event(), threading.Event()
RUNS: list[int] = []


def held(number: int) -> int:
    """A task that waits until it may end."""
    RUNS.append(number)
    BEGUN.set()
    GO_ON.wait(30)
    return number


def test_a_draining_worker_ends_its_task_and_takes_no_other() -> None:
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            protocol="tcp://",
            silence_logs=50,
        ) as small,
        Client(small) as client,
    ):
        first = client.submit(held, 1, pure=False)
        assert BEGUN.wait(30)
        second = client.submit(held, 2, pure=False)
        (worker,) = small.workers.values()
        worker.loop.add_callback(draining.drain, worker, time.monotonic() + 60)
        wait_for(lambda: not small.scheduler.running, "the scheduler to know")
        GO_ON.set()
        assert first.result(timeout=30) == 1
        first.release()
        wait_for(lambda: not small.scheduler.workers, "the worker to leave", timeout_s=30)
        assert RUNS == [1], "one run of the task that was begun, none of the other"
        small.scale(2)
        assert second.result(timeout=30) == 2


# ---- whole runs on stand-ins ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("launching") / "archive", sites=2, days=2, files=2)


@pytest.fixture(scope="module")
def clean(archive: Path) -> dict[str, str]:
    run(archive, archive.parent / "clean")
    return part_files(archive.parent / "clean")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put programs of ours in front of those on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for name, value in cli_env().items():  # what is started from another folder must find our packages
        if name == "PYTHONPATH":
            monkeypatch.setenv(name, value)

    def write(name: str, text: str) -> None:
        file = folder / name
        file.write_text(text, encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    return write


def test_a_run_on_pbs_submits_follows_and_cancels(
    archive: Path,
    clean: dict[str, str],
    tmp_path: Path,
    programs: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A `qsub` that runs jobs here; the first of them ends at once, as on a node that is broken."""
    monkeypatch.setattr(cluster.launching.launch, "_ASK_S", 0.3)
    state = tmp_path / "pbs"
    state.mkdir()
    programs(
        "qsub",
        f'#!/bin/bash\ncd {state}; exec 9>lock; flock 9; n=$(($(ls *.sh 2>/dev/null | wc -l) + 1)); cp "$1" $n.sh\n'
        "if [ $n -gt 1 ]; then setsid bash $n.sh >$n.log 2>&1 </dev/null 9>&- & echo $! >$n.pid; fi\necho $n.server\n",
    )
    programs(
        "qstat",
        f'#!/bin/bash\ncd {state}; for id in "$@"; do p=$(cat $id.pid 2>/dev/null)\n'
        'if [ -n "$p" ] && kill -0 $p 2>/dev/null; then echo "$id.server sonotheque me 0 R q"\n'
        'else echo "qstat: Unknown Job Id $id.server" >&2; bad=1; fi; done; exit ${bad:-0}\n',
    )
    programs("qdel", f"#!/bin/bash\ncd {state}; touch $1.deleted; kill -- -$(cat $1.pid)\n")
    keys = {"kind": "pbs", "scheduler": f"tcp://127.0.0.1:{free_port()}", "walltime": "1:00:00", "jobs": 2}
    file = cluster_file(tmp_path, **keys, python=sys.executable)
    report = run(archive, tmp_path / "store", cluster=file)
    assert (report.state, report.failed) == ("finished", 0)
    assert part_files(tmp_path / "store") == clean
    scripts = sorted(state.glob("*.sh"))
    assert len(scripts) >= 2
    assert "#PBS -l walltime=01:00:00" in scripts[0].read_text("utf-8")
    assert list(state.glob("*.deleted")), "what runs at the end is cancelled"
    assert job_status(str(tmp_path / "store"))["state"] == "finished"


def test_a_queue_that_hangs_leaves_no_process_behind(
    tmp_path: Path, programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_ASK_S", 0.5)
    programs("qstat", f"#!/bin/sh\necho $$ >> {tmp_path}/asked\nexec sleep 60\n")
    places: list[Place] = [SimpleNamespace(job_id="7")]  # type: ignore[list-item]
    state = asyncio.run(watcher_of(Pbs(scheduler="tcp://a:1", walltime=600))(places))
    assert state == [State(Phase.WAITING, "the queue does not answer")]
    (pid,) = map(int, (tmp_path / "asked").read_text("ascii").split())
    assert not psutil.pid_exists(pid)


_KUBECTL = '''#!{python}
"""A Kubernetes of one file: `create` runs the commands of the manifests on this machine."""
import json, os, signal, subprocess, sys
from pathlib import Path
import yaml
here, words, python = Path({folder!r}), sys.argv[2:], sys.executable
with (here / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
pids = [int(p) for p in (here / "pids").read_text().split()] if (here / "pids").exists() else []
port = {port!r}
if words[0] == "create":
    text = sys.stdin.read()
    (here / "applied.yaml").write_text(text)
    for job in [d for d in yaml.safe_load_all(text) if d["kind"] == "Job"]:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        command = [python, *container["command"][1:]]
        command = [word.replace("//sonotheque:8786", "//127.0.0.1:" + port).replace("8786", port) for word in command]
        command += ["--host", "127.0.0.1"] if "scheduler" in command else []
        env = os.environ | {{v["name"]: v["value"] for v in container["env"]}}
        for _ in range(job["spec"]["parallelism"]):
            pids.append(subprocess.Popen(command, env=env, start_new_session=True, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
    (here / "pids").write_text(" ".join(map(str, pids)))
elif words[0] == "get":
    ready = {{"conditions": [{{"type": "Ready", "status": "True"}}]}}
    items = [{{"kind": "Job"}}, {{"kind": "Pod", "status": ready}}] if pids else []
    print(json.dumps({{"items": items}}))
elif words[0] == "port-forward":
    print("Forwarding from 127.0.0.1:" + port + " -> 8786", flush=True)
    signal.pause()
elif words[0] == "delete":
    for pid in pids:
        try:
            os.killpg(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
'''


def test_a_run_in_pods_creates_and_deletes_them(
    archive: Path, clean: dict[str, str], tmp_path: Path, programs: Callable[[str, str], None]
) -> None:
    state = tmp_path / "pods"
    state.mkdir()
    programs("kubectl", _KUBECTL.format(python=sys.executable, folder=str(state), port=str(free_port())))
    keys = {"kind": "kubernetes", "image": "sonotheque:1", "volumes": {"archive": "/data"}, "workers": 1}
    report = run(archive, tmp_path / "store", cluster=cluster_file(tmp_path, **keys))
    assert (report.state, report.failed) == ("finished", 0)
    assert part_files(tmp_path / "store") == clean
    calls = (state / "calls").read_text("utf-8").splitlines()
    assert [call.split()[0] for call in calls] == ["get", "create", "get", "port-forward", "delete"]
    documents = list(yaml.safe_load_all((state / "applied.yaml").read_text("utf-8")))
    assert [d["kind"] for d in documents] == ["Service", "Job", "Job"]


def test_what_kubectl_refuses_is_told(archive: Path, tmp_path: Path, programs: Callable[[str, str], None]) -> None:
    programs("kubectl", "#!/bin/sh\necho 'Error: namespaces \"birds\" is forbidden' >&2\nexit 1\n")
    keys = {"kind": "kubernetes", "image": "i", "volumes": {"a": "/d"}, "namespace": "birds"}
    with pytest.raises(Unavailable, match=r"kubectl get in namespace birds ends with 1: .*forbidden"):
        embed(options(archive, tmp_path / "store", cluster=cluster_file(tmp_path, **keys)))


def test_a_pod_that_does_not_answer_is_told_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    deleted: list[Pods] = []
    monkeypatch.setattr(cluster.launching.launch, "_CONNECT_S", 1)
    monkeypatch.setattr(Pods, "start", lambda *_: f"tcp://127.0.0.1:{free_port()}")
    monkeypatch.setattr(Pods, "close", lambda pods: deleted.append(pods))
    workers = DaskWorkers(cluster=Kubernetes(image="i", volumes={"a": "/d"}, namespace="birds"))
    with pytest.raises(Unavailable, match=r"no answer at tcp://.* within 1 s: .*birds logs job/sonotheque-") as caught:
        workers.start()
    assert caught.value.kind in PASSING_KINDS, "a supervised run is started again"
    workers.close()
    assert len(deleted) == 1


def test_a_driver_that_hangs_is_told(programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_ASK_S", 0.2)
    programs("nvidia-smi", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(Unavailable, match=r"nvidia-smi --list-gpus gives no answer within 0\.2 s: .*driver") as caught:
        require_ready(Gpu(scheduler="tcp://a:1", devices=(0,)))
    assert caught.value.kind in PASSING_KINDS


def test_each_gpu_gets_a_process_that_sees_it_alone(tmp_path: Path, programs: Callable[[str, str], None]) -> None:
    programs("nvidia-smi", "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 3: A (UUID: y)'\n")
    address = f"tcp://127.0.0.1:{free_port()}"
    file = cluster_file(tmp_path, kind="gpu", scheduler=address, devices=[0, 3], memory="1 GiB", environment={"A": "b"})
    found = read_cluster(file)
    require_ready(found)
    backend = DaskBackend(ModelChoice("placeholder"), job=1, workers=2, cluster=found)
    try:
        backend.start()
        wait_for(lambda: backend._live.nthreads().__len__() == 2, "both")
        seen = backend._live.run(lambda: (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["A"]))
        assert sorted(seen.values()) == [("0", "b"), ("3", "b")]
        info = backend._live.scheduler_info(n_workers=-1)["workers"].values()
        assert {w["memory_limit"] for w in info} == {1 << 30}
        assert set(backend._live.nthreads().values()) == {1}
        cluster_of = backend._workers._started
        assert isinstance(cluster_of, cluster.launching.launch.Launched)
        processes = cluster_of._dask
        assert processes is not None
        assert set(processes.workers) == {"gpu-0", "gpu-3"} == {worker["name"] for worker in info}
        gone = processes.workers.pop("gpu-0")  # what Dask does with a process that stays away
        processes.sync(gone.close)
        wait_for(lambda: len(backend._live.nthreads()) == 1, "one to be gone")
        cluster_of._kept_at = float("-inf")
        backend._workers.check()
        wait_for(lambda: len(backend._live.nthreads()) == 2, "another in its place")
    finally:
        backend.close()
    with pytest.raises(NotFound, match=r"devices: GPU 1 is not on this machine; .* has 0, 3"):
        require_ready(Gpu(scheduler=address, devices=(0, 1)))


def test_a_scheduler_address_that_is_not_ours(
    archive: Path, tmp_path: Path, programs: Callable[[str, str], None]
) -> None:
    programs("nvidia-smi", "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\n")
    file = cluster_file(tmp_path, kind="gpu", scheduler="tcp://192.0.2.1:8786", devices=[0])
    with pytest.raises(Unavailable, match=r"no scheduler can listen at tcp://192\.0\.2\.1:8786 on this machine"):
        embed(options(archive, tmp_path / "store", cluster=file))


def test_only_an_address_that_is_refused_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Exception] = []

    def failing(**_: object) -> None:
        raise RuntimeError("Cluster failed to start") from told[-1]

    monkeypatch.setattr(cluster.launching.launch, "SpecCluster", failing)
    spec = Gpu(scheduler="tcp://127.0.0.1:1", devices=(0,))

    def start() -> None:
        cluster.launching.launch.scheduler_here(spec, Security(), {})

    told.append(OSError(errno.EADDRINUSE, "Address already in use"))
    with pytest.raises(Unavailable, match="no scheduler can listen"):
        start()
    told.append(ssl.SSLError("no start line"))
    with pytest.raises(Invalid, match=r"files below tls cannot be used: .*no start line"):
        start()
    told.append(ImportError("a fault of the program"))
    with pytest.raises(RuntimeError, match="failed to start"):
        start()


@pytest.mark.parametrize(
    "error",
    [
        KilledWorker("load", SimpleNamespace(address="tcp://a:1"), 2),
        NoWorkerError("load", 1.0),
    ],
)
def test_workers_that_end_over_the_model_are_told_so(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead:
        def submit(self, *_: object, **__: object) -> Dead:
            return self

        def register_plugin(self, _: object, name: str) -> None:
            return None

        def result(self) -> None:
            raise error

    backend = DaskBackend(ModelChoice("placeholder"), job=1)
    monkeypatch.setattr(backend._workers, "start", Dead)
    monkeypatch.setattr(backend._workers, "_client", Dead())
    with pytest.raises(Unavailable, match=r"ended while they loaded the model placeholder: .*memory.*weights"):
        backend.start()


def test_workers_of_this_machine_do_not_ask_for_dasks_usual_port() -> None:
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # somebody has it already
            other.bind(("127.0.0.1", 8787))
            other.listen()
        workers = DaskWorkers(1)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Port 8787 is already in use")
            client = workers.start()
        try:
            assert len(client.nthreads()) == 1
            assert isinstance(workers._started, LocalCluster)
            listening = workers._started.scheduler.http_server._sockets.values()
            assert {found.getsockname()[0] for found in listening} == {"127.0.0.1"}
        finally:
            workers.close()


def test_a_run_that_is_stopped_while_it_waits(
    archive: Path, tmp_path: Path, programs: Callable[[str, str], None]
) -> None:
    """Jobs that never start; `sonotheque stop` is obeyed, and the jobs are cancelled."""
    store = tmp_path / "store"
    programs("sbatch", "#!/bin/sh\necho Submitted batch job 17\n")
    programs("squeue", "#!/bin/sh\necho '17|PENDING|Resources'\n")
    programs("scancel", f"#!/bin/sh\necho $1 >> {tmp_path}/cancelled\n")
    keys = {"kind": "slurm", "scheduler": f"tcp://127.0.0.1:{free_port()}", "walltime": "1:00:00"}

    def stop() -> None:
        events = store / "jobs" / "1" / "events.jsonl"
        wait_for(lambda: events.exists() and "job 17: started" in events.read_text("utf-8"), "the job")
        (store / "jobs" / "1" / "CANCEL").touch()

    thread = threading.Thread(target=stop)
    thread.start()
    report = run(archive, store, cluster=cluster_file(tmp_path, **keys))
    thread.join()
    assert (report.state, report.pending) == ("stopped", report.files)
    assert (tmp_path / "cancelled").read_text("ascii") == "17\n"
    assert job_status(str(store))["state"] == "stopped"
    assert run(archive, store).done == 8
