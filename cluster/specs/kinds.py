"""What a cluster file can say: one class a kind. A key is there only where it does something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, ClassVar, Final

from cluster.specs import values
from cluster.specs.values import Take
from sonotheque.core.errors import Invalid

_WORDS: Final = values.many(values.word, "a list of host names, such as [node1, node2]")
_DEVICES: Final = values.many(values.whole(0), "a list of GPU numbers, such as [0, 1]")


def entry(take: Take, default: Any = MISSING) -> Any:
    """Return a dataclass field that knows how its value is taken from YAML; without a default the file must have it."""
    if default == {} and default is not MISSING:
        return field(default_factory=dict, metadata={"take": take})
    return field(default=default, metadata={"take": take})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files in PEM format for connections that are encrypted and open to nobody else.

    Attributes
    ----------
    ca, cert, key : str
        The authority's certificate, this cluster's own, and its private key.
    """

    ca: str = entry(values.path)
    cert: str = entry(values.path)
    key: str = entry(values.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What all kinds have.

    Attributes
    ----------
    threads : int
        Threads of the model's engine in each worker process.
    memory : int or None
        Bytes that a worker process may take; None: what Dask finds.
    environment : mapping
        Variables set for every worker.
    tls : Tls or None
    """

    kind: ClassVar[str]
    threads: int = entry(values.whole(1), 1)
    memory: int | None = entry(values.memory, None)
    environment: Mapping[str, str] = entry(values.environment, {})
    tls: Tls | None = field(default=None, metadata={"nested": Tls})

    @property
    def processes(self) -> int | None:
        """Worker processes in all; None: as many as this machine holds."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(Cluster):
    """Worker processes on this machine, started and ended by the run.

    Attributes
    ----------
    workers : int or None
        None: one per core, as memory allows.
    """

    kind: ClassVar[str] = "local"
    workers: int | None = entry(values.whole(1), None)

    @property
    def processes(self) -> int | None:
        """See :class:`Cluster`."""
        return self.workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Cluster):
    """Workers that look for a scheduler, which is in the run's own process.

    Attributes
    ----------
    scheduler : str
        Its address, as the workers see it.
    """

    scheduler: str = entry(values.address)

    def __post_init__(self) -> None:
        if self.scheduler.startswith("tls://") != (self.tls is not None):
            raise Invalid(
                f"scheduler is {self.scheduler} and there {'are' if self.tls else 'are no'} files below tls; "
                "tls:// goes with them, tcp:// without"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu(Started):
    """One worker process per GPU of this machine.

    Attributes
    ----------
    devices : tuple of int
        Numbers of the GPUs, as ``nvidia-smi`` lists them.
    """

    kind: ClassVar[str] = "gpu"
    devices: tuple[int, ...] = entry(_DEVICES)

    @property
    def processes(self) -> int | None:
        """See :class:`Cluster`."""
        return len(self.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes(Started):
    """Workers on other machines.

    Attributes
    ----------
    workers : int
        Worker processes on each host, or in each job.
    python : str
        The Python there, of an environment in which this program is installed.
    paths : mapping
        Folders as this machine sees them -> as the nodes do.
    walltime : int or None
        Seconds that the workers may live.
    """

    workers: int = entry(values.whole(1), 1)
    python: str = entry(values.word, "python3")
    paths: Mapping[str, str] = entry(values.folders, {})
    walltime: int | None = entry(values.walltime, None)

    @property
    def places(self) -> int:
        """Hosts, or jobs."""
        raise NotImplementedError

    @property
    def processes(self) -> int | None:
        """See :class:`Cluster`."""
        return self.workers * self.places


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh(Nodes):
    """Machines that let us in with a key.

    Attributes
    ----------
    hosts : tuple of str
    user : str or None
        None: the one who runs this.
    identity : str or None
        The private key's file; None: what ``ssh`` is set up to use.
    port : int
    known_hosts : str or None
        File with the hosts' keys; None: the one that ``ssh`` uses.
    """

    kind: ClassVar[str] = "ssh"
    hosts: tuple[str, ...] = entry(_WORDS)
    user: str | None = entry(values.word, None)
    identity: str | None = entry(values.path, None)
    port: int = entry(values.whole(1), 22)
    known_hosts: str | None = entry(values.path, None)

    @property
    def places(self) -> int:
        """See :class:`Nodes`."""
        return len(self.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Nodes):
    """Jobs of a batch system, each with some worker processes on one node.

    Attributes
    ----------
    jobs : int
    start_within : int
        Seconds after which a run says that no job has started yet; it goes on waiting.
    account : str or None
    logs : str or None
        Folder, as the nodes see it, for what the jobs print.
    directives : tuple of str
        More options of the batch system, one a line.
    setup : tuple of str
        Lines of shell before the workers start.
    """

    walltime: int = entry(values.walltime)
    jobs: int = entry(values.whole(1), 1)
    start_within: int = entry(values.walltime, 900)
    account: str | None = entry(values.word, None)
    logs: str | None = entry(values.path, None)
    directives: tuple[str, ...] = entry(values.lines, ())
    setup: tuple[str, ...] = entry(values.lines, ())

    @property
    def places(self) -> int:
        """See :class:`Nodes`."""
        return self.jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm(Batch):
    """Jobs of SLURM.

    Attributes
    ----------
    partition : str or None
    """

    kind: ClassVar[str] = "slurm"
    partition: str | None = entry(values.word, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pbs(Batch):
    """Jobs of PBS.

    Attributes
    ----------
    queue : str or None
    logs : str or None
        As of every batch system, without blanks: qsub takes a line of options apart at each.
    """

    kind: ClassVar[str] = "pbs"
    logs: str | None = entry(values.plain_path, None)
    queue: str | None = entry(values.word, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes(Cluster):
    """Pods, one worker process each, with a scheduler of their own.

    Attributes
    ----------
    image : str
        An image with this program in it, the version used here.
    workers : int
        Pods.
    volumes : mapping
        Names of persistent volume claims -> folders where they are mounted.
    paths : mapping
        Folders as this machine sees them -> as the pods do.
    name : str
        What the objects are called.
    namespace : str
    user : int
        Number of the user that owns the files written.
    """

    kind: ClassVar[str] = "kubernetes"
    image: str = entry(values.word)
    volumes: Mapping[str, str] = entry(values.volumes)
    workers: int = entry(values.whole(1), 1)
    paths: Mapping[str, str] = entry(values.folders, {})
    name: str = entry(values.label, "sonotheque")
    namespace: str = entry(values.label, "default")
    user: int = entry(values.whole(1), 1000)

    @property
    def processes(self) -> int | None:
        """See :class:`Cluster`."""
        return self.workers


KINDS: Final[dict[str, type[Cluster]]] = {cls.kind: cls for cls in (Local, Ssh, Slurm, Pbs, Kubernetes, Gpu)}
