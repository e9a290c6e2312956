"""Four workers on two hosts: the store of one process, also when one of the hosts is cut off and comes back.

``make hosts`` runs this; it needs root, for network namespaces. A host that is cut off goes on with the parts it has, since the disk is
shared as on a cluster, and nobody hears of them: the other host does them again, and each is in the store once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cluster.dask_settings import SETTINGS, as_environment
from cluster.status import verify_store
from tests.cluster.poison import poisoned_env
from tests.cluster.support import cli, cli_env, make_archive, part_files, run, start_cli, tell_log, wait_for, windows
from tests.hosts.network import Network, cannot, network

_PORT = 8786
_TTL_S = 8
_COLUMNS = "path, start_s, embedding::VARCHAR"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="network namespaces are Linux's"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 parts, one for each site and day."""
    return make_archive(tmp_path_factory.mktemp("hosts") / "archive", sites=8, days=6, files=2, seconds=6.0)


@pytest.fixture(scope="module")
def clean(archive: Path) -> dict[str, str]:
    """The part files of one process, without Dask."""
    run(archive, archive.parent / "clean")
    found = part_files(archive.parent / "clean")
    assert len(found) == 2 * 48
    return found


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Network]:
    """A scheduler on this machine, two workers on each of two hosts."""
    why_not = cannot()
    if why_not:
        pytest.skip(why_not)
    env = {
        **as_environment({**SETTINGS, "distributed.scheduler.worker-ttl": f"{_TTL_S}s"}),
        **poisoned_env(tmp_path / "slow", slow_model_s=0.25),
    }
    with network(2) as net:
        address = f"tcp://{net.address}:{_PORT}"
        here = Path(sys.executable)
        told = cli_env(env)
        scheduler = [
            str(here),
            "-P",
            "-m",
            "dask",
            "scheduler",
            "--host",
            net.address,
            "--port",
            str(_PORT),
            "--no-dashboard",
        ]
        first = net.hosts[0]
        # The scheduler runs on this machine, outside of the namespaces, and is ended with the first host's programs.
        with (tmp_path / "scheduler.log").open("ab") as log:
            first.processes.append(
                subprocess.Popen(
                    scheduler, env=told, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            )
        for host in net.hosts:
            worker = [
                str(here),
                "-P",
                "-m",
                "dask",
                "worker",
                address,
                "--host",
                host.address,
                "--nworkers",
                "2",
                "--nthreads",
                "1",
            ]
            host.start(
                [*worker, "--no-dashboard", "--local-directory", str(tmp_path / host.name)],
                told,
                tmp_path / f"{host.name}.log",
            )
        assert wait_for(lambda: len(_workers(address)) == 4, "four workers", timeout_s=90)
        yield net


def _workers(address: str) -> set[str]:
    from distributed import Client

    try:
        with Client(address, timeout=5) as client:
            return set(client.nthreads())
    except OSError:
        return set()


def _tell(line: str) -> None:
    tell_log("HOSTS_LOG", line)


def _made_on(address: str) -> dict[str, int]:
    """Return how many parts each host has made, as its workers remember."""
    from distributed import Client

    def made(dask_worker: Any) -> int:
        log = list(dask_worker.state.log)
        return len({entry[0] for entry in log if str(entry[0]).startswith("embed-") and "put-in-memory" in entry})

    found: dict[str, int] = {}
    with Client(address, timeout=30) as client:
        for worker, count in client.run(made).items():
            host = urlsplit(worker).hostname or worker
            found[host] = found.get(host, 0) + count
    return found


def _parts_of(store: Path) -> list[dict[str, object]]:
    events = store / "jobs" / "1" / "events.jsonl"
    if not events.exists():
        return []
    return [e for line in events.read_text().splitlines() if (e := json.loads(line))["event"] == "part"]


def test_four_workers_on_two_hosts_are_one_process(
    hosts: Network, archive: Path, clean: dict[str, str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    address = f"tcp://{hosts.address}:{_PORT}"
    done = cli(
        "embed",
        archive,
        "--store",
        store,
        "--model",
        "placeholder",
        "--scheduler",
        address,
        "-q",
        "--json",
        timeout_s=300,
    )
    assert done.returncode == 0, done.stderr
    assert part_files(store) == clean
    assert windows(store, _COLUMNS) == windows(archive.parent / "clean", _COLUMNS)
    made = _made_on(address)
    counts = ", ".join(f"{made.get(host.address, 0)} on host {n}" for n, host in enumerate(hosts.hosts, 1))
    _tell(f"two hosts, two workers each: 48 parts, {counts}; every file as one process writes it, byte for byte")
    assert set(made) == {host.address for host in hosts.hosts} and min(made.values()) > 4 and sum(made.values()) == 48


@pytest.mark.parametrize("away_s", [2.0, 3 * _TTL_S], ids=["a-moment", "given-up"])
def test_a_host_that_is_cut_off_and_comes_back(
    hosts: Network, archive: Path, clean: dict[str, str], tmp_path: Path, away_s: float
) -> None:
    """The second host loses its cable in the middle of the work; its parts are done by the first, or when it is back."""
    store = tmp_path / "store"
    lost = hosts.hosts[1]
    address = f"tcp://{hosts.address}:{_PORT}"
    running = start_cli(
        "embed", archive, "--store", store, "--model", "placeholder", "--scheduler", address, "-q", "--json"
    )
    try:
        assert wait_for(lambda: len(_parts_of(store)) >= 4, "the first parts", timeout_s=120)
        lost.cut()
        before = len(_parts_of(store))
        cut_at = time.monotonic()
        assert wait_for(lambda: time.monotonic() - cut_at > away_s, "the time without a cable", timeout_s=away_s + 30)
        meanwhile = len(_parts_of(store)) - before
        lost.join()
        out, err = running.communicate(timeout=300)
    finally:
        running.kill()
    ends = _parts_of(store)
    assert running.returncode == 0, err
    found = json.loads(out)
    assert (found["done"], found["failed"], found["pending"]) == (found["files"], 0, 0)
    assert part_files(store) == clean
    assert windows(store, _COLUMNS) == windows(archive.parent / "clean", _COLUMNS)
    checked = verify_store(str(store), deep=True)
    assert checked.ok and checked.duplicate_windows == 0 and checked.missing == 0
    assert wait_for(lambda: len(_workers(address)) == 4, "all four workers, back at work", timeout_s=90)
    second = sum(1 for end in ends if not end["won"])
    _tell(
        f"host 2 cut off for {away_s:g} s after {before} of 48 parts: {meanwhile} parts ended meanwhile, {second} of all were done twice "
        f"and kept once; {found['done']} files done, 0 lost, {checked.duplicate_windows} doubled; both its workers came back"
    )
