"""Kubernetes manifests: a service, a scheduler, and workers with the volumes that hold recordings and store.

Jobs and not deployments: when the run ends, however it does, the scheduler soon has nothing to do and leaves, the workers
leave because it is gone, and nothing starts them again.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from cluster.dask_settings import node_environment
from cluster.specs.kinds import Kubernetes
from cluster.specs.worker import memory_flags, tls_flags, tls_on_nodes, worker_command

RUN: Final = "sonotheque-run"
OWNER: Final = "sonotheque-owner"
_PORT: Final = 8786
_IDLE_S: Final = 600  # a scheduler whose run is gone ends itself
_KEPT_S: Final = 600  # how long jobs that have ended can be looked at
_RETRIES: Final = 1000  # a pod may be evicted, or its process end, again and again; what it had begun others do


def manifests(cluster: Kubernetes, run: str | None = None, owner: str = "") -> str:
    """Return YAML documents for ``kubectl``.

    Parameters
    ----------
    cluster : Kubernetes
    run : str, optional
        A run's own word: a label of everything, so that it finds and deletes its own objects only.
    owner : str
        Goes with it, for people and for the next run: which process this is.
    """
    documents = [_service(cluster), _scheduler(cluster), _workers(cluster)]
    for document in documents if run else ():
        metadata, spec = document["metadata"], document["spec"]
        metadata["annotations"] = {OWNER: owner}
        below = spec["selector"] if document["kind"] == "Service" else spec["template"]["metadata"]["labels"]
        for labels in (metadata["labels"], below):
            labels[RUN] = run
    return str(yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, explicit_start=True, width=140))


class _Plain(yaml.SafeDumper):
    """Writes what is there twice twice, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _service(cluster: Kubernetes) -> dict[str, Any]:
    ports = [{"name": "scheduler", "port": _PORT, "targetPort": _PORT}]
    spec = {"selector": _labels(cluster, "scheduler"), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(cluster, cluster.name), "spec": spec}


def _scheduler(cluster: Kubernetes) -> dict[str, Any]:
    command = ["python3", "-m", "dask", "scheduler", "--port", str(_PORT), "--no-dashboard", *_tls(cluster)]
    command += ["--idle-timeout", f"{_IDLE_S} seconds"]
    if cluster.tls:
        command += ["--protocol", "tls"]
    container = {
        "name": "scheduler",
        "image": cluster.image,
        "command": command,
        "ports": [{"containerPort": _PORT}],
        "readinessProbe": {"tcpSocket": {"port": _PORT}},
    }
    return _job(cluster, "scheduler", 1, 0, container)  # one that begins anew would know nothing of the run


def _workers(cluster: Kubernetes) -> dict[str, Any]:
    address = f"{'tls' if cluster.tls else 'tcp'}://{cluster.name}:{_PORT}"
    command = [*worker_command("python3", address, 1), *_tls(cluster), *memory_flags(cluster.memory)]
    wants: dict[str, str] = {"cpu": str(cluster.threads)}
    limits: dict[str, str] = {}
    if cluster.memory:
        wants["memory"] = limits["memory"] = str(cluster.memory)
    container = {
        "name": "worker",
        "image": cluster.image,
        "command": command,
        "resources": {"requests": wants, **({"limits": limits} if limits else {})},
    }
    return _job(cluster, "worker", cluster.workers, _RETRIES, container)


def _job(cluster: Kubernetes, role: str, pods: int, retries: int, container: dict[str, Any]) -> dict[str, Any]:
    variables = node_environment(encrypted=cluster.tls is not None) | dict(cluster.environment)
    container = {
        **container,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": f"volume-{i}", "mountPath": folder} for i, folder in enumerate(cluster.volumes.values())
        ],
    }
    pod = {
        "restartPolicy": "OnFailure" if retries else "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": cluster.user, "fsGroup": cluster.user},
        "containers": [container],
        "volumes": [
            {"name": f"volume-{i}", "persistentVolumeClaim": {"claimName": claim}}
            for i, claim in enumerate(cluster.volumes)
        ],
    }
    labels = _labels(cluster, role)
    spec = {
        "parallelism": pods,
        "backoffLimit": retries,
        "ttlSecondsAfterFinished": _KEPT_S,
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    name = f"{cluster.name}-{role}"
    metadata = {**_metadata(cluster, name), "labels": labels.copy()}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _metadata(cluster: Kubernetes, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": cluster.namespace, "labels": {"app.kubernetes.io/name": cluster.name}}


def _labels(cluster: Kubernetes, role: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": cluster.name, "app.kubernetes.io/component": role}


def _tls(cluster: Kubernetes) -> list[str]:
    return tls_flags(tls_on_nodes(cluster.tls, cluster.paths))
