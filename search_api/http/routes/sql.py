"""SQL, where the service was started with it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import Response

from search_api.http.envelope import Answer, failures, meta
from search_api.http.routing import api_router
from search_api.http.service import ServiceDep
from search_api.http.wire.sql import SqlQuestion, SqlResult
from sonotheque.core.errors import Refused

router = api_router("sql", scope="sql")


@router.post("/sql", response_model=Answer[SqlResult], responses=failures(404, 413))
async def post_sql(service: ServiceDep, body: SqlQuestion) -> Any:
    """Ask one SELECT over the views; off unless the service was started with it, and the scope `sql` is never implied."""
    if service.sql is None:
        raise Refused(
            "SQL is switched off; whoever runs the service starts it with `sonotheque serve --sql`", kind="forbidden"
        )
    found = await service.sql.ask(body.query, body.parameters)
    told = meta(found.pop("snapshot")).model_dump()
    # 8 MB of rows are as they should be already: no model reads them again, and not in the thread that serves everybody
    text = await asyncio.to_thread(json.dumps, {"data": found, "meta": told}, separators=(",", ":"))
    return Response(text, media_type="application/json")
