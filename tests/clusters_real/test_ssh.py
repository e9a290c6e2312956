"""`embed --cluster` with kind ssh, on an sshd of our own: two hosts, which are this machine under two names."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.index_dask import spread_on
from cluster.specs.placing import place_tasks
from store import open_archive, read_config
from store.index import IndexWishes, build_index, wishes
from tests.cluster.support import cli, part_files, run, start_cli, wait_for
from tests.clusters_real.conftest import keep_log, outline, told_of, workers_here
from tests.clusters_real.kit_ssh import Sshd, free_port, sshd, sshd_program
from tests.scores.kit import keep, probe, scores_tree

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sshd_program() is None, reason="openssh-server is not installed")]
HOSTS = ["127.0.0.1", "localhost"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def ssh_file(server: Sshd, cluster_file: Callable[..., Path], tls: dict[str, str]) -> Callable[..., tuple[Path, str]]:
    """Write a file for both hosts; returns it and the scheduler's address."""

    def write(**more: object) -> tuple[Path, str]:
        address = f"tls://127.0.0.1:{free_port()}"
        login = {"user": server.user, "identity": server.identity, "known_hosts": server.known_hosts}
        keys = {"kind": "ssh", "hosts": HOSTS, "scheduler": address, "port": server.port, "tls": tls, **login}
        return cluster_file(**{**keys, **more}), address

    return write


def test_a_run_starts_its_workers_by_ssh_and_ends_them(
    archive: Path,
    clean: dict[str, str],
    home: Path,
    tmp_path: Path,
    ssh_file: Callable[..., tuple[Path, str]],
    server: Sshd,
) -> None:
    file, address = ssh_file(workers=1)
    store = home / "ssh"
    asked = ["embed", archive, "--store", store, "--model", "placeholder", "--cluster", file]
    dry = cli(*asked, "--dry-run")
    assert f"a Dask scheduler on {address}, in this process, with TLS" in dry.stdout, dry.stderr
    assert not store.exists()
    done = cli(*asked)
    assert done.returncode == 0, done.stderr
    assert part_files(store) == clean
    assert sum("workers on" in text and "started" in text for text in told_of(store)) == 2
    wait_for(lambda: not workers_here(address), "the end of all workers", timeout_s=20)
    verified = cli("verify", "--store", store, "--deep")
    assert verified.returncode == 0
    logins = [line for line in server.log.read_text("utf-8").splitlines() if "Accepted publickey" in line]
    assert len(logins) >= 2
    keep_log(
        "ssh",
        "kind: ssh, two hosts with one worker each, TLS; hosts and sshd are this machine's own",
        [
            ("cat cluster.yaml", file.read_text("utf-8")),
            ("sonotheque embed archive --store ssh --model placeholder --cluster cluster.yaml --dry-run", dry.stdout),
            (
                "sonotheque embed archive --store ssh --model placeholder --cluster cluster.yaml",
                done.stderr + done.stdout,
            ),
            ("the job's events", outline(store)),
            ("sonotheque verify --store ssh --deep", verified.stdout),
        ],
        [home, tmp_path, Path(server.identity).parent],
    )


def test_workers_that_die_are_started_again(
    archive: Path, clean: dict[str, str], home: Path, ssh_file: Callable[..., tuple[Path, str]]
) -> None:
    file, address = ssh_file(workers=1, slow_model_s=0.3)
    store = home / "dies"
    asked = ["embed", archive, "--store", store, "--model", "placeholder", "--cluster", file, "-q"]
    process = start_cli(*asked)
    wait_for(lambda: list(store.glob("embeddings/**/*.parquet")), "the first part")
    for victim in workers_here(address):  # the commands, and with them their nannies
        victim.kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err + out
    assert part_files(store) == clean
    assert sum("started" in text for text in told_of(store)) >= 3
    assert any("ended" in text for text in told_of(store))


def test_workers_end_when_their_run_is_killed_and_resume_goes_on(
    archive: Path, clean: dict[str, str], home: Path, ssh_file: Callable[..., tuple[Path, str]]
) -> None:
    file, address = ssh_file(workers=2, slow_model_s=0.3)
    store = home / "killed"
    process = start_cli("embed", archive, "--store", store, "--model", "placeholder", "--cluster", file, "-q")
    wait_for(lambda: list(store.glob("embeddings/**/*.parquet")), "the first part")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not workers_here(address), "the end of all workers", timeout_s=60)
    assert part_files(store).items() <= clean.items()
    again = cli("resume", "--store", store, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["skipped"] > 0
    assert part_files(store) == clean


def test_a_host_that_refuses_costs_its_workers_only(
    archive: Path, clean: dict[str, str], home: Path, ssh_file: Callable[..., tuple[Path, str]]
) -> None:
    file, _ = ssh_file(hosts=["127.0.0.1", "127.0.0.9"])  # nobody listens at the other
    report = run(archive, home / "half", cluster=str(file))
    assert report.state == "finished"
    assert part_files(home / "half") == clean
    assert any("127.0.0.9: not started" in text for text in told_of(home / "half"))


def test_hosts_that_do_not_let_us_in(archive: Path, home: Path, ssh_file: Callable[..., tuple[Path, str]]) -> None:
    file, _ = ssh_file(user="nobody-of-that-name")
    done = cli("embed", archive, "--store", home / "refused", "--model", "placeholder", "--cluster", file, "-q")
    assert done.returncode == 6, done.stderr
    assert "Permission denied" in done.stderr
    assert "resume" in done.stderr
    assert not part_files(home / "refused")


def test_probes_and_an_index_by_ssh(
    archive: Path, home: Path, ssh_file: Callable[..., tuple[Path, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "SEGMENT_ROWS", 30)
    file, address = ssh_file(workers=1, threads=2)
    here, there = home / "one-process", home / "by-ssh"
    run(archive, here)
    keep(str(here), probe("owl", spec=read_config(str(here)).model))
    shutil.copytree(here, there)
    notes: list[str] = []
    with (
        open_archive(str(there)) as found,
        spread_on(str(there), place_tasks(cluster=str(file)), notes.append) as spread,
    ):
        build_index(found, IndexWishes(kind="coded"), spread=spread)
    assert sum("started" in note for note in notes) == 2
    wait_for(lambda: not workers_here(address), "the end of all workers", timeout_s=20)
    with open_archive(str(here)) as found:
        build_index(found, IndexWishes(kind="coded"))
    made = [{p.name: p.read_bytes() for p in Path(s, "index", "v1").glob("*-*")} for s in (here, there)]
    assert made[0] == made[1]
    assert sum(name.startswith("codes") for name in made[0]) > 3
    done = cli("probe", "apply", "owl", "--store", there, "--cluster", file, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["where"] == "2 worker processes on a cluster of kind ssh"
    assert sum("workers on" in line and "started" in line for line in done.stderr.splitlines()) == 2
    assert cli("probe", "apply", "owl", "--store", here).returncode == 0
    assert scores_tree(str(here)) == scores_tree(str(there))
    wait_for(lambda: not workers_here(address), "the end of all workers", timeout_s=20)
