"""Pods of a Kubernetes cluster, through ``kubectl`` and the manifests that a dry run shows.

Not dask-kubernetes: its operator has to be installed by an administrator first, and its client speaks without TLS.
"""

from __future__ import annotations

import re
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from cluster.backends import StopAsked
from cluster.specs.kinds import Kubernetes
from cluster.specs.manifests import manifests
from sonotheque.core.errors import Unavailable

_ASK_S: Final = 60
_POLL_S: Final = 1.0
_TELL_S: Final = 300.0
_GRACE_S: Final = 5
_FORWARD: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class Pods:
    """A scheduler's pod, the workers' pods, and the way to them.

    Parameters
    ----------
    cluster : Kubernetes
    """

    def __init__(self, cluster: Kubernetes) -> None:
        self._cluster = cluster
        self._forward: subprocess.Popen[str] | None = None
        self._applied = False

    def start(self, note: Callable[[str], None], stop_asked: Callable[[], bool]) -> str:
        """Create the objects, wait for the scheduler's pod, and return the scheduler's address on this machine.

        Raises
        ------
        Unavailable
            If kubectl refuses.
        StopAsked
            If the run was asked to stop meanwhile.
        """
        name = self._cluster.name
        # What a run that was killed left behind has ended by itself, but its jobs keep their names for a while.
        if not self._said(
            "get", "job", f"{name}-scheduler", "--ignore-not-found", "--output=jsonpath={.status.active}"
        ):
            self._kubectl("delete", "job", f"{name}-scheduler", f"{name}-worker", "--ignore-not-found", "--wait")
        self._applied = True
        self._kubectl("apply", "--filename", "-", text=manifests(self._cluster))
        note(f"{self._cluster.workers} worker pods and a scheduler's are asked for in {self._cluster.namespace}")
        self._wait_ready(note, stop_asked)
        self._forward = subprocess.Popen(
            self._command("port-forward", f"service/{name}", ":8786", "--address=127.0.0.1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return f"{'tls' if self._cluster.tls else 'tcp'}://127.0.0.1:{self._port()}"

    def state(self) -> str:
        """Return what Kubernetes says of the pods, on one line."""
        lines = self._said("get", "pods", f"--selector={self._selector()}", "--no-headers").splitlines()
        return "; ".join(" ".join(line.split()[:3]) for line in lines[:8]) or "there are no pods"

    def close(self) -> None:
        """Delete the objects; pods that are left without a scheduler end by themselves too."""
        if self._forward is not None:
            self._forward.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._forward.wait(_GRACE_S)
            self._forward.kill()
            self._forward.wait()
        if self._applied:
            with suppress(Unavailable):  # out of reach: they end when the scheduler has nothing to do any more
                self._kubectl(
                    "delete", "--filename", "-", "--ignore-not-found", "--wait=false", text=manifests(self._cluster)
                )

    def _wait_ready(self, note: Callable[[str], None], stop_asked: Callable[[], bool]) -> None:
        tell_at = time.monotonic() + _TELL_S
        selector = f"--selector={self._selector()},app.kubernetes.io/component=scheduler"
        ready = '--output=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        while self._said("get", "pods", selector, ready) != "True":
            if stop_asked():
                raise StopAsked("the scheduler's pod was not ready yet")
            if time.monotonic() > tell_at:
                note(
                    f"the scheduler's pod is not ready ({self.state()}). The run goes on waiting; `sonotheque stop` ends it"
                )
                tell_at = time.monotonic() + 2 * _TELL_S
            time.sleep(_POLL_S)

    def _port(self) -> int:
        """Return the port that kubectl chose; it says so on its first line."""
        out = self._forward.stdout if self._forward else None
        line = ""
        if out is not None and select.select([out], [], [], _ASK_S)[0]:
            line = out.readline()
        if found := _FORWARD.search(line):
            return int(found.group(1))
        raise Unavailable(
            f"kubectl port-forward service/{self._cluster.name} says {line.strip()!r}: no way to the scheduler"
        )

    def _selector(self) -> str:
        return f"app.kubernetes.io/name={self._cluster.name}"

    def _command(self, *words: str) -> list[str]:
        return ["kubectl", f"--namespace={self._cluster.namespace}", *words]

    def _said(self, *words: str) -> str:
        return self._kubectl(*words).strip()

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
