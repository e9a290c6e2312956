"""Kubernetes manifests: a service, a scheduler, and workers with the volumes that hold recordings and store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import yaml

from cluster.dask_settings import REQUIRE_ENCRYPTION, SETTINGS, as_environment
from cluster.specs.kinds import Kubernetes
from cluster.specs.placing import on_nodes

_PORT: Final = 8786
_WAIT_S: Final = 600


def manifests(cluster: Kubernetes) -> str:
    """Return YAML documents for ``kubectl apply``."""
    documents = [_service(cluster), _scheduler(cluster), _workers(cluster)]
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
    if cluster.tls:
        command += ["--protocol", "tls"]
    container = {
        "name": "scheduler",
        "image": cluster.image,
        "command": command,
        "ports": [{"containerPort": _PORT}],
        "readinessProbe": {"tcpSocket": {"port": _PORT}},
    }
    return _deployment(cluster, "scheduler", 1, container)


def _workers(cluster: Kubernetes) -> dict[str, Any]:
    address = f"{'tls' if cluster.tls else 'tcp'}://{cluster.name}:{_PORT}"
    command = ["python3", "-m", "dask", "worker", address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard"]
    command += ["--death-timeout", str(_WAIT_S), *_tls(cluster)]
    wants: dict[str, str] = {"cpu": str(cluster.threads)}
    limits: dict[str, str] = {}
    if cluster.memory:
        command += ["--memory-limit", str(cluster.memory)]
        wants["memory"] = limits["memory"] = str(cluster.memory)
    container = {
        "name": "worker",
        "image": cluster.image,
        "command": command,
        "resources": {"requests": wants, **({"limits": limits} if limits else {})},
    }
    return _deployment(cluster, "worker", cluster.workers, container)


def _deployment(cluster: Kubernetes, role: str, replicas: int, container: dict[str, Any]) -> dict[str, Any]:
    variables = as_environment({**SETTINGS, **({REQUIRE_ENCRYPTION: True} if cluster.tls else {})})
    variables |= cluster.environment
    container = {
        **container,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": f"volume-{i}", "mountPath": folder} for i, folder in enumerate(cluster.volumes.values())
        ],
    }
    pod = {
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
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    name = f"{cluster.name}-{role}"
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(cluster, name), "spec": spec}


def _metadata(cluster: Kubernetes, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": cluster.namespace, "labels": {"app.kubernetes.io/name": cluster.name}}


def _labels(cluster: Kubernetes, role: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": cluster.name, "app.kubernetes.io/component": role}


def _tls(cluster: Kubernetes) -> list[str]:
    if not cluster.tls:
        return []
    files = {name: on_nodes(file, cluster.paths) for name, file in asdict(cluster.tls).items()}
    return ["--tls-ca-file", files["ca"], "--tls-cert", files["cert"], "--tls-key", files["key"]]
