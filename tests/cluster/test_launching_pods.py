"""Pods that a run starts, on a Kubernetes that is a dictionary: whose objects they are, and what becomes of a pod that fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from cluster.launching import pods as pods_module
from cluster.launching.forward import Forward
from cluster.launching.pods import Pods
from cluster.processes import named
from cluster.specs.kinds import Kubernetes
from cluster.specs.manifests import OWNER, RUN, manifests
from sonotheque.core.errors import Conflict, Unavailable
from tests.cluster.support import wait_for

SPEC = Kubernetes(image="sonotheque:1", volumes={"archive": "/data"})
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class Kube:
    """What ``kubectl`` answers, of objects in memory.

    Attributes
    ----------
    objects : dict
        (kind, name) -> object.
    silent : int
        So many questions for the scheduler's pod get no answer first.
    fails : bool
        Whether the scheduler's pod ends with an error.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.silent, self.fails = 0, False

    def __call__(self, *words: str, text: str | None = None) -> str:
        selector = next((word for word in words if word.startswith("--selector=")), "").partition("=")[2]
        if words[0] == "create":
            return self.create(text or "")
        if words[0] == "logs":
            return "ModuleNotFoundError: No module named 'dask'"
        chosen = [key for key, item in self.objects.items() if self.matches(item, selector)]
        if words[0] == "delete":
            for key in chosen:
                del self.objects[key]
            return ""
        if "component=scheduler" in selector and self.silent:
            self.silent -= 1
            raise Unavailable("kubectl get: connection refused")
        items = [self.objects[key] for key in chosen]
        if words[1] == "job,pod":
            items = [i for i in items if i["kind"] == "Job"] + [{"kind": "Pod", "status": {} if self.fails else READY}]
        return json.dumps({"items": items})

    @staticmethod
    def matches(item: dict[str, Any], selector: str) -> bool:
        labels = item["metadata"]["labels"]
        for term in selector.split(","):
            key, _, value = term.partition("=")
            if key in labels if key.startswith("!") else labels.get(key) != value:
                return False
        return True

    def create(self, text: str) -> str:
        documents = [d | {"status": {}} for d in yaml.safe_load_all(text)]
        if any((d["kind"], d["metadata"]["name"]) in self.objects for d in documents):
            raise Unavailable("kubectl create ends with 1: Error from server (AlreadyExists)")
        for document in documents:
            if document["kind"] == "Job":
                document["status"] = {"failed": 1} if self.fails else {"active": 1}
            self.objects[document["kind"], document["metadata"]["name"]] = document
        return ""

    @property
    def runs(self) -> set[str]:
        return {item["metadata"]["labels"].get(RUN, "") for item in self.objects.values()}


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> Kube:
    made = Kube()
    monkeypatch.setattr(Pods, "_kubectl", lambda _, *words, text=None: made(*words, text=text))
    monkeypatch.setattr(pods_module, "_POLL_S", 0.001)
    monkeypatch.setattr(Forward, "open", lambda _: 1234)
    monkeypatch.setattr(Forward, "close", lambda _: None)
    return made


def start(pods: Pods) -> str:
    return pods.start(lambda _: None, lambda: False)


def test_everything_has_the_runs_own_label() -> None:
    for document in yaml.safe_load_all(manifests(SPEC, "ab12", "me")):
        assert document["metadata"]["labels"][RUN] == "ab12"
        assert document["metadata"]["annotations"] == {OWNER: "me"}
        spec = document["spec"]
        assert (spec.get("selector") or spec["template"]["metadata"]["labels"])[RUN] == "ab12"
    assert RUN not in manifests(SPEC)


def test_a_second_run_of_one_name_leaves_the_first_alone(kube: Kube) -> None:
    first, second = Pods(SPEC), Pods(SPEC)
    assert start(first) == "tcp://127.0.0.1:1234"
    before = dict(kube.objects)
    with pytest.raises(Conflict, match=r"another run \(process \d+ on .*another name in its cluster file"):
        start(second)
    second.close()
    assert kube.objects == before
    first.close()
    assert not kube.objects


def test_of_two_runs_that_begin_at_once_one_gets_an_error(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Pods(SPEC), Pods(SPEC)
    monkeypatch.setattr(second, "_clear", lambda: start(first))  # it looked before the first had created anything
    with pytest.raises(Conflict, match="began just now"):
        start(second)
    second.close()
    assert len(kube.objects) == 3
    first.close()
    assert not kube.objects


@pytest.mark.parametrize("rest", ["killed here", "ended", "service", "by hand"])
def test_what_a_run_that_is_over_left_behind_is_removed(kube: Kube, rest: str) -> None:
    owner = json.dumps({**named(), "pid": 2**30, "process": "gone"})
    kube.create(manifests(SPEC, None if rest == "by hand" else "old", owner))
    for key, item in list(kube.objects.items()):
        if rest != "killed here":
            item["status"] = {"succeeded": 1}
        if rest == "service" and key[0] == "Job":
            del kube.objects[key]
    pods = Pods(SPEC)
    start(pods)
    assert len(kube.objects) == 3
    assert kube.runs == {pods._run}


def test_a_run_on_another_machine_is_not_taken_for_dead(kube: Kube) -> None:
    kube.create(manifests(SPEC, "theirs", json.dumps({**named(), "host": "elsewhere", "pid": 2**30})))
    with pytest.raises(Conflict, match="on elsewhere"):
        start(Pods(SPEC))
    assert kube.runs == {"theirs"}


def test_a_scheduler_that_fails_is_told_with_its_words(kube: Kube) -> None:
    kube.fails = True
    with pytest.raises(Unavailable, match=r"scheduler's pod failed .*No module named 'dask'"):
        start(Pods(SPEC))


def test_some_questions_without_an_answer_are_borne(kube: Kube) -> None:
    kube.silent = pods_module._SILENT - 1
    pods = Pods(SPEC)
    start(pods)
    pods.close()
    kube.silent = pods_module._SILENT
    with pytest.raises(Unavailable, match="connection refused"):
        start(Pods(SPEC))


_FORWARD = "print('Forwarding from 127.0.0.1:{} -> 8786', flush=True); {}"


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_a_forward_that_ends_is_started_again_on_its_port_and_is_read() -> None:
    asked: list[int | None] = []

    def command(port: int | None) -> list[str]:
        asked.append(port)
        # The second says more than a pipe holds, and ends after it: somebody reads.
        rest = ["0", "print('x' * 1_000_000)", "import signal; signal.pause()"][min(len(asked), 3) - 1]
        return python(_FORWARD.format(port or 4567, rest))

    forward = Forward(command)
    try:
        assert forward.open() == 4567
        wait_for(lambda: len(asked) >= 3, "two more")
        assert asked[:3] == [None, 4567, 4567]
    finally:
        forward.close()
    assert not forward._thread.is_alive()
    assert forward._process is not None
    assert forward._process.returncode is not None
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (lambda _: python("print('error: pod is gone')"), r"says 'error: pod is gone': no way to the scheduler"),
        (lambda _: ["/no/kubectl"], r"No such file"),
    ],
)
def test_a_forward_that_does_not_come_up(command: Callable[[int | None], list[str]], said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        Forward(command).open()
