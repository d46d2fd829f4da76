"""Events from client libraries of the Segment family: `/v1/batch` and one endpoint for each type."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout

from api.context import App, Caller, Context, within_limit
from api.problems import Forbidden, Unauthorised, answer, responses
from cdp.errors import CdpError, StoreUnavailable
from cdp.sources import intake
from cdp.store import inbox, keys

router = APIRouter(prefix="/v1", tags=["events"])
SCOPE = "events:write"
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


def _endpoint(kind: str) -> Callable[[Request, App], Awaitable[JSONResponse]]:
    async def take(request: Request, app: App) -> JSONResponse:
        try:
            raw = await _body(request)
            body = intake.decode(raw, request.headers.get("content-encoding", "").strip().lower())
            events = intake.events(kind, body, app.clock())
            await run_in_threadpool(_keep, app, request, _write_key(request, body), events)
        except CdpError as error:
            return _refused(error)
        except (psycopg.OperationalError, PoolTimeout):
            return _refused(StoreUnavailable("the database does not answer; try again in a moment"))
        return JSONResponse({"success": True})

    take.__doc__ = (
        "Many events at once, at most 500 kB. 200 is said once all of them are durable; the same `messageId` again adds nothing."
        if kind == "batch"
        else f"One `{kind}` event, at most 32 kB."
    )
    return take


for _kind in ("batch", *intake.KINDS):
    router.post(
        f"/{_kind}", name=f"intake_{_kind}", openapi_extra=BODY, responses={200: {"description": "Durable"}, **responses(400, 401, 403, 413, 503)}
    )(_endpoint(_kind))  # fmt: skip


async def _body(request: Request) -> bytes:
    """The body, up to the limit: what is larger is not read."""
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > intake.MOST_BATCH:
            raise intake.TooLarge(f"a batch has at most {intake.MOST_BATCH:,} bytes", "send fewer events at a time")
    return bytes(read)


def _write_key(request: Request, body: dict[str, Any]) -> str:
    """The key: as user name of Basic, as Bearer, or in the body, as client libraries differ."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, ValueError):
            return ""
    found = body.get("writeKey")
    return found if isinstance(found, str) else ""


def _keep(app: Context, request: Request, text: str, events: list[tuple[str, str]]) -> None:
    """Check the key and make the events durable, in one transaction."""
    with app.store() as store:
        key = keys.living(app.ring.look(text) or app.ring.read(store, text), app.pepper, text, app.clock())
        if key is None:
            raise Unauthorised("send a write key: as user name of Basic, as Bearer, or as 'writeKey' in the body")
        caller = Caller(key, key.purposes[0])
        request.state.caller = caller
        within_limit(request, app, caller)
        if not key.allows(SCOPE) or key.source is None:
            raise Forbidden(
                f"this key lacks the scope {SCOPE}"
                if not key.allows(SCOPE)
                else "this key belongs to no source: make one with --source"
            )
        with store.transaction():
            inbox.add(store, key.source, events, app.clock())
        app.metrics.events.labels(key.source).inc(len(events))
    app.trail.note(caller.event(f"POST {request.url.path}"))


def _refused(error: CdpError) -> JSONResponse:
    """A problem document that also says `code` and `message`, which client libraries read."""
    more = {"code": error.title.lower().replace(" ", "_"), "message": error.message}
    return answer(error.status_code, error.title, error.message, more=more)
