"""The front of the package: from a file found on disk to a :class:`Recording` that the plan can use."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

from embedder.recorders.chunks import RiffFacts, read_riff_from
from embedder.recorders.comments import Facts, HeaderNote, parse_comment, parse_guano
from embedder.recorders.lengths import length_s
from embedder.recorders.names import NameTime, compile_user_pattern, parse_name
from embedder.recorders.sites import SiteRule, site_of
from embedder.recorders.times import resolve_time
from sonotheque.core.clock import ClockReading, load_zone
from sonotheque.core.deployments import Deployment, DeploymentTable, Match
from sonotheque.core.errors import SonothequeError, Unavailable
from sonotheque.core.passing import is_passing
from sonotheque.core.places import join
from sonotheque.core.recording import Recording, RecordingTime, SourceFile
from sonotheque.core.site import clean_site

_WAITS_S = (0.1, 0.5, 2.0)  # before each further try of a header whose disk failed
_UNREAD_MOST = 3  # so many bad sectors are a few files' misfortune; more of them are a disk that is gone


class Describer:
    """Describes files, one at a time, with the options of one run.

    Parameters
    ----------
    site_rule : SiteRule, optional
        ``auto`` by default.
    zone : str, optional
        IANA name of the sites' time zone; a deployment's own zone comes before it.
    clock_zone : str, optional
        IANA name of the zone that recorders' clocks were set to, if not the sites': ``UTC`` for most AudioMoths.
    pattern : str, optional
        A file-name pattern, see :func:`compile_user_pattern`.
    deployments : DeploymentTable, optional
    times : mapping, optional
        From :func:`load_times`: the last word on when a file starts.
    opened : callable, optional
        Gives the bytes of a file below a root, where that may be another place than a folder of this machine. A
        :class:`SonothequeError` of it is raised; an ``OSError`` leaves the header unread. One that may pass is met with more tries
        first; if these are in vain the file has the issue ``header_not_read``, and from the fourth such file on it is ``Unavailable``.

    Raises
    ------
    Invalid
        If a zone or the pattern cannot be right.
    """

    def __init__(
        self,
        *,
        site_rule: SiteRule | None = None,
        zone: str | None = None,
        clock_zone: str | None = None,
        pattern: str | None = None,
        deployments: DeploymentTable | None = None,
        times: Mapping[str, ClockReading] | None = None,
        opened: Callable[[str, SourceFile], AbstractContextManager[BinaryIO]] | None = None,
    ) -> None:
        self.site_rule = site_rule or SiteRule()
        self.zone = None if zone is None else load_zone(zone, "time zone")
        self.clock_zone = None if clock_zone is None else load_zone(clock_zone, "clock time zone")
        self.pattern: re.Pattern[str] | None = None if pattern is None else compile_user_pattern(pattern)
        self.deployments = deployments
        self.times = times or {}
        self._opened = opened or _on_disk
        self._unread: set[str] = set()

    def describe(self, root: str, source: SourceFile) -> Recording:
        """Return what is known of a file before it is decoded.

        Parameters
        ----------
        root : str
            The archive's folder, or its address in an object store.
        source : SourceFile

        Returns
        -------
        Recording
            Also for a file that is damaged, unreadable or gone: then its name alone speaks, and ``audio_s`` is 0.
        """
        riff, audio_s = self._read_header(root, source)
        name = parse_name(source.path, self.pattern)
        guano = parse_guano(riff.guano) if riff else None
        comment = parse_comment(riff.comment, riff.artist) if riff else None
        table = self.times.get(source.path) or self.times.get(source.path.rsplit("/", 1)[-1])

        def time_at(deployment: Deployment | None) -> RecordingTime:
            zone, clock_zone = self._zones(deployment)
            return resolve_time(
                table=table,
                guano=guano.clock if guano else None,
                header=comment.clock if comment else None,
                name=name.clock if name else None,
                zone=zone,
                clock_zone=clock_zone,
            )

        match = Match(None, "")
        if self.deployments is not None:
            match = self.deployments.match(source.path, time_at, name.prefix if name else "")
        deployment = match.deployment
        time = time_at(deployment)
        more = [match.issue] if match.issue else []
        if source.path in self._unread:
            more.append("header_not_read")
        if more:
            time = replace(time, issues=(*time.issues, *more))
        site = clean_site(deployment.site) if deployment and deployment.site else ""
        return Recording(
            source,
            site or site_of(self.site_rule, root, source.path, name),
            time,
            deployment.id if deployment else None,
            audio_s,
            _device(name, comment, guano, deployment),
        )

    def _read_header(self, root: str, source: SourceFile) -> tuple[RiffFacts | None, float]:
        for tries in range(len(_WAITS_S) + 1):
            try:
                with self._opened(root, source) as handle:
                    riff = read_riff_from(handle)
                    return riff, length_s(handle, riff)
            except SonothequeError:
                raise
            except OSError as error:  # gone, no permission, a folder, a pipe
                if not is_passing(error):
                    return None, 0.0
                self._count_unread(root, source, error, is_last=tries == len(_WAITS_S))
            except ValueError:  # a NUL in the path
                return None, 0.0
            if tries < len(_WAITS_S):
                time.sleep(_WAITS_S[tries])
        return None, 0.0

    def _count_unread(self, root: str, source: SourceFile, error: OSError, *, is_last: bool) -> None:
        if is_last:
            self._unread.add(source.path)
            if len(self._unread) > _UNREAD_MOST:
                raise _unread(root, source, error, len(self._unread)) from error

    def _zones(self, deployment: Deployment | None) -> tuple[ZoneInfo | None, ZoneInfo | None]:
        if deployment is None:
            return self.zone, self.clock_zone
        # Each is looked up by itself: a table that has the sites' zones need not repeat how the clocks were set.
        return deployment.zone or self.zone, deployment.clock_zone or self.clock_zone


def _unread(root: str, source: SourceFile, error: OSError, files: int) -> Unavailable:
    """Return the error of a disk that fails: planned without their headers, recordings would lose times and places for good."""
    return Unavailable(
        f"{join(root, source.path)}: its header could not be read in {len(_WAITS_S) + 1} tries ({error.strerror or error}), and it is the "
        f"{files}th such file. See to the disk or the network and run the same command again: nothing was planned without them"
    )


@contextmanager
def _on_disk(root: str, source: SourceFile) -> Iterator[BinaryIO]:
    with (Path(root) / source.path).open("rb") as handle:
        yield handle


def _device(
    name: NameTime | None, comment: HeaderNote | None, guano: HeaderNote | None, deployment: Deployment | None
) -> Facts:
    """Return the facts of all sources, the better ones last: a table that a person wrote has the final word."""
    facts: Facts = {}
    if name is not None and name.latitude is not None and name.longitude is not None:
        facts.update(latitude=name.latitude, longitude=name.longitude)
    facts.update(comment.device if comment else {})
    facts.update(guano.device if guano else {})
    if deployment is not None:
        if deployment.recorder:
            facts["recorder_id"] = deployment.recorder
        if deployment.model:
            facts.setdefault("recorder", deployment.model)
        if deployment.latitude is not None and deployment.longitude is not None:
            facts.update(latitude=deployment.latitude, longitude=deployment.longitude)
    return facts
