"""What a mail client or a person does with an unsubscribe link (RFC 8058), and what we say of Global Privacy Control."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from api.context import App
from api.problems import responses
from cdp.consent import recording
from cdp.consent.recording import CannotRecord, Said
from cdp.consent.resolve import Decision
from cdp.errors import NotFound
from cdp.store import changes, consents
from cdp.store.audit import Event
from cdp.store.consents import Evidence

router = APIRouter(tags=["consent"])
LONGEST = 2_000
ONE_CLICK = re.compile(rb'List-Unsubscribe(=|"\s*\r?\n\r?\n)One-Click')  # as a form, or as multipart/form-data
Token = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Unsubscribe</title>
<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">
<p>Stop these messages? · 不再接收此类消息？</p><button>Unsubscribe · 退订</button></form></html>"""
DONE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Unsubscribed</title>
<p>Done. You will not get these messages any more. · 已退订，您将不再收到此类消息。</p></html>"""
HEADERS = {"Content-Security-Policy": "default-src 'none'; form-action 'self'", "Referrer-Policy": "no-referrer"}


@router.get("/v1/unsubscribe/{token}", responses=responses(404, 422, 503))
def ask(token: Token, app: App) -> HTMLResponse:
    """A page with one button. Opening it changes nothing: mail scanners follow links."""
    with app.store() as store:
        if consents.unsubscribing(store, token) is None:
            raise NotFound("this link is not known")
    return HTMLResponse(PAGE, headers=HEADERS)


@router.post("/v1/unsubscribe/{token}", responses=responses(404, 422, 503))
async def unsubscribe(token: Token, app: App, request: Request) -> HTMLResponse:
    """One click: no sign-in, no question. The body is `List-Unsubscribe=One-Click`."""
    form = b""
    async for chunk in request.stream():
        form += chunk
        if len(form) > LONGEST:
            raise CannotRecord("the body is too long", "send 'List-Unsubscribe=One-Click'")
    if not ONE_CLICK.search(form):
        raise CannotRecord("the body must be 'List-Unsubscribe=One-Click'", "send it as RFC 8058 says")
    await run_in_threadpool(withdraw, app, token)
    return HTMLResponse(DONE, headers=HEADERS)


@router.get("/.well-known/gpc.json")
def gpc() -> dict[str, Any]:
    """That Global Privacy Control is honoured."""
    return {"gpc": True, "lastUpdate": "2026-01-01"}


def withdraw(app: App, token: str) -> None:
    """Withdraw for every customer that holds the address; the same click again adds nothing."""
    now = app.clock()
    with app.store() as store, store.transaction():
        found = consents.unsubscribing(store, token)
        if found is None:
            raise NotFound("this link is not known")
        purpose, kind, point, holders = found
        if not holders:  # nobody we know has the address now: whoever comes with it is not written to
            decision = Decision(
                "",
                f"unsubscribe:link:{token[:16]}",
                kind,
                point,
                purpose,
                "withdrawn",
                now,
                now,
                "unsubscribe_link",
                "one_click",
            )
            consents.record(store, [decision], Evidence("unsubscribe link"), now)
            app.trail.write(store, Event("consent.one_click", "unsubscribe link", details={"purpose": purpose}))
        for customer in holders:
            known = consents.material(store, customer)
            made = recording.decisions(
                Said(purpose, "withdrawn", "one_click", "unsubscribe_link", point), known, app.policy, now
            )
            added = consents.record(store, made, Evidence("unsubscribe link"), now)
            if added:
                changes.add(store, [("consent.changed", customer, {})], now)
            app.trail.write(
                store, Event("consent.one_click", "unsubscribe link", None, customer, details={"purpose": purpose})
            )
