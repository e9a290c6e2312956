"""Pods of a Kubernetes cluster, through ``kubectl`` and the manifests that a dry run shows.

Not dask-kubernetes: its operator has to be installed by an administrator first, and its client speaks without TLS.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from cluster.backends import StopAsked
from cluster.launching.forward import Forward
from cluster.processes import found, named
from cluster.specs.kinds import Kubernetes
from cluster.specs.manifests import OWNER, RUN, manifests
from sonotheque.core.errors import Conflict, Unavailable

_ASK_S: Final = 60
_POLL_S: Final = 1.0
_TELL_S: Final = 300.0
_SILENT: Final = 10  # questions in a row without an answer; an API server that is restarted misses a few
_TAIL: Final = 20


class Pods:
    """A scheduler's pod, the workers' pods, and the way to them.

    Parameters
    ----------
    cluster : Kubernetes
    """

    def __init__(self, cluster: Kubernetes) -> None:
        self._cluster = cluster
        self._run = secrets.token_hex(6)
        self._forward: Forward | None = None
        self._created = False

    def start(self, note: Callable[[str], None], stop_asked: Callable[[], bool]) -> str:
        """Create the objects, wait for the scheduler's pod, and return the scheduler's address on this machine.

        Raises
        ------
        Conflict
            If another run has objects of this name.
        Unavailable
            If kubectl refuses, or the scheduler's pod fails.
        StopAsked
            If the run was asked to stop meanwhile.
        """
        name = self._cluster.name
        self._clear()
        self._created = True
        # Not apply: of two runs that begin at once, one gets an error and not the other's objects.
        try:
            self._kubectl("create", "--filename", "-", text=manifests(self._cluster, self._run, json.dumps(named())))
        except Unavailable as error:
            if "AlreadyExists" in error.message or "already exists" in error.message:
                raise self._conflict("one that began just now") from error
            raise
        note(f"{self._cluster.workers} worker pods and a scheduler's are asked for in {self._cluster.namespace}")
        self._wait_ready(note, stop_asked)
        self._forward = Forward(
            lambda port: self._command("port-forward", f"service/{name}", f"{port or ''}:8786", "--address=127.0.0.1")
        )
        return f"{'tls' if self._cluster.tls else 'tcp'}://127.0.0.1:{self._forward.open()}"

    def state(self) -> str:
        """Return what Kubernetes says of the pods, on one line."""
        try:
            lines = self._kubectl("get", "pods", self._selector(RUN, self._run), "--no-headers").splitlines()
        except Unavailable as error:
            return error.message
        return "; ".join(" ".join(line.split()[:3]) for line in lines[:8]) or "there are no pods"

    def close(self) -> None:
        """Delete the run's own objects; pods that are left without a scheduler end by themselves too."""
        if self._forward is not None:
            self._forward.close()
        if self._created:
            with suppress(Unavailable):  # out of reach: they end when the scheduler has nothing to do any more
                self._delete(self._selector(RUN, self._run), wait=False)

    def _clear(self) -> None:
        """Delete what runs that are over left behind: jobs keep their names for a while, a service for good."""
        leftover: set[str] = set()
        for item in self._items("service,job", self._selector()):
            metadata = item["metadata"]
            owner = str((metadata.get("annotations") or {}).get(OWNER, ""))
            ending = bool(metadata.get("deletionTimestamp")) or _is_over(owner)
            if (item.get("status") or {}).get("active") and not ending:
                raise self._conflict(_shown(owner))
            leftover.add(str((metadata.get("labels") or {}).get(RUN, "")))
        for run in sorted(leftover):
            self._delete(self._selector(RUN, run) if run else self._selector(f"!{RUN}"), wait=True)

    def _conflict(self, who: str) -> Conflict:
        name, space = self._cluster.name, self._cluster.namespace
        return Conflict(
            f"another run ({who}) has jobs called {name} in the namespace {space}; give this one another name in its cluster file. If that "
            f"run is over, its pods end within minutes, or now with `kubectl --namespace={space} delete job,service "
            f"{self._selector()}`"
        )

    def _wait_ready(self, note: Callable[[str], None], stop_asked: Callable[[], bool]) -> None:
        tell_at, silent = time.monotonic() + _TELL_S, 0
        while True:
            try:
                items = self._of_scheduler()
                silent = 0
            except Unavailable:
                silent += 1
                if silent >= _SILENT:
                    raise
                items = []
            if any(_is_ready(item) for item in items):
                return
            if any(item["kind"] == "Job" and (item.get("status") or {}).get("failed") for item in items):
                raise self._failed()
            if stop_asked():
                raise StopAsked("the scheduler's pod was not ready yet")
            if time.monotonic() > tell_at:
                note(
                    f"the scheduler's pod is not ready ({self.state()}). The run goes on waiting; `sonotheque stop` ends it"
                )
                tell_at = time.monotonic() + 2 * _TELL_S
            time.sleep(_POLL_S)

    def _of_scheduler(self) -> list[dict[str, Any]]:
        """Return the scheduler's job and pod."""
        items = self._items("job,pod", f"{self._selector(RUN, self._run)},app.kubernetes.io/component=scheduler")
        if not any(item["kind"] == "Job" for item in items):
            raise Unavailable("the scheduler's job is there no more: somebody deleted it")
        return items

    def _failed(self) -> Unavailable:
        try:
            said = " ".join(self._kubectl("logs", f"job/{self._cluster.name}-scheduler", f"--tail={_TAIL}").split())
        except Unavailable as error:  # a pod that was evicted has left none
            said = error.message
        return Unavailable(
            f"the scheduler's pod failed ({self.state()}); it said: {said[-600:] or 'nothing'}. Look at the image, which needs this program "
            "in this version, and at the files below tls",
        )

    def _items(self, kinds: str, selector: str) -> list[dict[str, Any]]:
        told = self._kubectl("get", kinds, selector, "--output=json")
        try:
            return list(json.loads(told)["items"])
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"kubectl get {kinds} prints no list in JSON: {told[:200]!r}") from error

    def _delete(self, selector: str, *, wait: bool) -> None:
        self._kubectl("delete", "service,job", selector, "--ignore-not-found", f"--wait={str(wait).lower()}")

    def _selector(self, *more: str) -> str:
        return f"--selector=app.kubernetes.io/name={self._cluster.name}" + (f",{'='.join(more)}" if more else "")

    def _command(self, *words: str) -> list[str]:
        return ["kubectl", f"--namespace={self._cluster.namespace}", *words]

    def _kubectl(self, *words: str, text: str | None = None) -> str:
        try:
            done = subprocess.run(
                self._command(*words), input=text or "", capture_output=True, text=True, timeout=_ASK_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"kubectl {words[0]}: {error}") from error
        if done.returncode:
            said = " ".join(done.stderr.split())[:400]
            raise Unavailable(
                f"kubectl {words[0]} in namespace {self._cluster.namespace} ends with {done.returncode}: {said}. Look at the file's keys, "
                "and whether `kubectl get pods` works there"
            )
        return done.stdout


def _is_ready(item: dict[str, Any]) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return item["kind"] == "Pod" and any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _read(owner: str) -> dict[str, Any]:
    with suppress(ValueError):
        told = json.loads(owner)
        if isinstance(told, dict):
            return told
    return {}


def _is_over(owner: str) -> bool:
    """Tell whether the run that wrote this was on this machine and lives no more; of other machines nothing is known."""
    told = _read(owner)
    return told.get("host") == named()["host"] and found(told) is None


def _shown(owner: str) -> str:
    told = _read(owner)
    return f"process {told.get('pid')} on {told.get('host')}" if told else "started by hand, or by an earlier version"
