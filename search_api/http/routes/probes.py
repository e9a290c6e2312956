"""Probes: which there are, how good they are, which version is in use."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from search_api.browsing.probe_classes import thresholds_of
from search_api.http.asking import asked
from search_api.http.envelope import Answer, Page, answer, failures, page
from search_api.http.guard import caller_of
from search_api.http.routes.jobs import cleaned
from search_api.http.routing import api_router, needs
from search_api.http.service import ServiceDep
from search_api.http.wire.probes import (
    Comparison,
    ProbeDetail,
    ProbeRow,
    ProbeVersion,
    PromoteAsk,
    Promoted,
    RollbackAsk,
)
from search_api.probes.report_page import report_page
from search_api.probes.scores import ProbeScores
from search_api.probes.versions import (
    compare,
    list_probes,
    load_probe,
    newest,
    promote,
    read_report,
    rollback,
    runs,
    show,
)
from sonotheque.core.errors import NotFound, SonothequeError
from sonotheque.core.filters import SearchFilter
from store import Archive
from store.probes import ProbeStore

router = api_router("probes")
ProbeParam = Annotated[str, Path(max_length=200, description="The probe's name")]
VersionPath = Annotated[int, Path(ge=1, le=2**31, description="Number of a version")]
# The page has its style and its plots in it, and no script; nothing else may be loaded by it.
_REPORT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_REPORT_HEADERS: Final = {"Content-Security-Policy": _REPORT_POLICY, "X-Frame-Options": "SAMEORIGIN"}


@router.get("/probes", response_model=Page[ProbeRow])
async def probes(service: ServiceDep, request: Request) -> object:
    """List all probes, each by its version in use."""
    rows = await service.run("read", _rows, service.settings.store)
    return page(cleaned(request.app.state.scrubber, rows), None)


@router.get("/probes/{name}", response_model=Answer[ProbeDetail], responses=failures(404))
async def probe(service: ServiceDep, request: Request, name: ProbeParam) -> object:
    """Return a probe with its versions, how each came about, and which was in use when."""
    found, snapshot = await asked(service, _detail, name)
    return answer(cleaned(request.app.state.scrubber, found), snapshot)


@router.get("/probes/{name}/versions/{version}", response_model=Answer[ProbeVersion], responses=failures(404))
async def probe_version(service: ServiceDep, request: Request, name: ProbeParam, version: VersionPath) -> object:
    """Return one version with the report of its training."""
    found = await service.run("read", show, service.settings.store, name, version)
    found["classes"] = _classes({label: told["threshold"] for label, told in found["classes"].items()})
    return answer(found)


@router.get(
    "/probes/{name}/versions/{version}/report",
    response_class=Response,  # HTMLResponse would make the document say that errors are pages too
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **failures(404)},
)
async def probe_report(service: ServiceDep, name: ProbeParam, version: VersionPath) -> HTMLResponse:
    """Return the report of a version's training as a page that opens anywhere, without a network."""
    return HTMLResponse(
        await service.run("draw", _report, service.settings.store, name, version), headers=_REPORT_HEADERS
    )


@router.get("/probes/{name}/compare", response_model=Answer[Comparison], responses=failures(404, 409))
async def probe_compare(
    service: ServiceDep,
    name: ProbeParam,
    a: Annotated[int, Query(ge=1, le=2**31, description="A version")],
    b: Annotated[int, Query(ge=1, le=2**31, description="Another; differences are b less a")],
) -> object:
    """Judge two versions by the same windows, which neither has learnt from."""
    found, snapshot = await asked(service, _compared, name, a, b)
    return answer(found, snapshot)


@router.post(
    "/probes/{name}/promote",
    response_model=Answer[Promoted],
    responses=failures(404, 409),
    dependencies=[needs("admin")],
)
async def probe_promote(service: ServiceDep, request: Request, name: ProbeParam, ask: PromoteAsk) -> object:
    """Take a version into use, if it is better than the one that is; 409 if it is not."""
    by = _name(request)
    found = await service.run(
        "draw", promote, service.settings.store, name, ask.version, force=ask.force, why=ask.why, by=by
    )
    return answer(cleaned(request.app.state.scrubber, found))


@router.post(
    "/probes/{name}/rollback",
    response_model=Answer[Promoted],
    responses=failures(404, 409),
    dependencies=[needs("admin")],
)
async def probe_rollback(service: ServiceDep, request: Request, name: ProbeParam, ask: RollbackAsk) -> object:
    """Take the version into use again that was before the one that is."""
    return answer(await service.run("draw", rollback, service.settings.store, name, why=ask.why, by=_name(request)))


def _rows(root: str) -> list[dict[str, Any]]:
    rows = list_probes(root)
    for row in rows:
        known = thresholds_of(root, row["name"], row["in_use"]) if row["in_use"] and row["classes"] else {}
        row["classes"] = _classes(known)
    return rows


def _detail(archive: Archive, name: str) -> dict[str, Any]:
    root = archive.root
    store = ProbeStore(root)
    name = store.require(name)
    used = store.in_use(name)
    found: dict[str, Any] = {"name": name, "in_use": used, "versions": store.versions(name), "runs": runs(root, name)}
    found |= {"promotions": [], "kind": None, "classes": [], "model": None, "fits": None, "problem": None}
    try:
        told = show(root, name, used if used is not None else newest(root, name))
    except SonothequeError as error:  # damaged: its other versions can be looked at all the same
        found["problem"] = error.message
    else:
        found |= {key: told[key] for key in ("kind", "model", "fits", "promotions")}
        found["classes"] = _classes({label: one["threshold"] for label, one in told["classes"].items()})
    return {**found, "applied": _applied(archive, name) if used is not None else None}


def _applied(archive: Archive, name: str) -> dict[str, Any] | None:
    try:
        scores = ProbeScores(archive, load_probe(archive.root, name))
    except SonothequeError:  # not applied; or of another model, or damaged, which is told in `problem`
        return None
    windows, scored = scores.windows(SearchFilter())
    return {"windows": windows, "scored": scored, "floor": scores.floor}


def _classes(thresholds: dict[str, float]) -> list[dict[str, Any]]:
    return [{"label": label, "threshold": threshold} for label, threshold in thresholds.items()]


def _report(root: str, name: str, version: int) -> str:
    name = ProbeStore(root).require(name, version)
    report = read_report(root, name, version)
    if report is None:
        raise NotFound(f"version {version} of probe {name} was brought from elsewhere, and has no report")
    return report_page(report)


def _compared(archive: Archive, name: str, a: int, b: int) -> dict[str, Any]:
    return compare(archive, ProbeStore(archive.root).require(name), a, b)


def _name(request: Request) -> str | None:
    caller = caller_of(request)
    return caller.name if caller else None
