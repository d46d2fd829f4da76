"""The page of one customer, by the same functions that answer the API."""

import json
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Query
from fastapi.responses import Response

from api import present, view
from api.console.search import shown as listed
from api.console.visit import Agent, Visit
from api.refs import ref
from api.routers import customers as api
from api.routers import loyalty as points
from api.schemas import Loyalty, Timeline
from cdp.consent.flags import customer_flags
from cdp.consent.resolve import DENIALS, Material
from cdp.store import consents, customers, decisions, holds, notes, users

router = APIRouter()
STORY = 25  # items of a page
MOST_DEVICES = 10
MOST_HOUSEHOLD = 8
MOST_WAITING = 20
CHANNELS = ("web", "app", "pos", "service", "console")
KINDS = ("order", "return", "ticket", "points", "consent")


@router.get("/customers/{customer_id}")
def show(visit: Agent, customer_id: UUID, channel: str = "", kind: str = "") -> Response:
    """Everything about a person on one page, masked unless this session revealed it."""
    app, caller = visit.app, visit.caller
    channel, kind = channel if channel in CHANNELS else "", kind if kind in KINDS else ""
    with app.store() as store:
        revealed = visit.revealed(store, str(customer_id))
    open_now, reason = revealed is not None, revealed[1] if revealed else None
    said = json.loads(
        api.get_customer(customer_id, app, caller, ["loyalty", "tickets", "care"], None, open_now, reason, None).body
    )
    living = said["customer_id"]
    if living != str(customer_id):
        return visit.back(f"/customers/{living}", "merged")
    story = timeline(visit, UUID(living), None, channel, kind, reason)
    card = api.get_loyalty(UUID(living), app, caller) if visit.may("loyalty:read") else None
    stands = (
        points.get_balance(UUID(living), app, caller, Response(), None, None, None)
        if isinstance(card, Loyalty)
        else None
    )
    with app.store() as store:
        users.looked_at(store, visit.session.token_hash, living)
        known = consents.material(store, living)
        family = listed(visit, store, [(other, []) for other in customers.household(store, living, MOST_HOUSEHOLD)])
        waiting = holds.waiting(store, MOST_WAITING, living)
        written, devices = notes.of_customer(store, living), customers.devices(store, living, MOST_DEVICES)
        acts = decisions.of_customer(store, living)
        scored = _scored(visit, store, living, known)
    return visit.page(
        "customer.html", customer=said, card=card if isinstance(card, Loyalty) else None, stands=stands, story=story, channel=channel, kind=kind,
        channels=CHANNELS, kinds=KINDS, strip=strip(visit, known, revealed=open_now), notes=written, flags=notes.FLAGS,
        devices=devices, family=family, until=revealed[0] if revealed else None, open_now=open_now,
        seconds=int((revealed[0] - app.clock()).total_seconds()) if revealed else 0,
        scores=scored, waiting=waiting, limit=app.programme.adjust_limit, changes=acts, level_scale=app.programme.scale_of(app.programme.measured),
    )  # fmt: skip


def _scored(visit: Visit, store: psycopg.Connection, living: str, known: Material) -> dict[str, Any]:
    """Scores are for another purpose than serving somebody: only who allows that one is shown with them."""
    return {**view.scored(store, living, view.no_scores(visit.app, known)), "purpose": visit.app.insight.purpose}


@router.get("/customers/{customer_id}/timeline")
def more(
    visit: Agent, customer_id: UUID, cursor: Annotated[str, Query(max_length=400)], channel: str = "", kind: str = ""
) -> Response:
    """An older page of the story."""
    with visit.app.store() as store:
        revealed = visit.revealed(store, str(customer_id))
    reason = revealed[1] if revealed else None
    channel, kind = channel if channel in CHANNELS else "", kind if kind in KINDS else ""
    story = timeline(visit, customer_id, cursor, channel, kind, reason)
    template = "_timeline.html" if visit.request.headers.get("x-fragment") == "1" else "timeline.html"
    return visit.page(template, story=story, customer_id=str(customer_id), channel=channel, kind=kind)


def timeline(
    visit: Visit, customer_id: UUID, cursor: str | None, channel: str, kind: str, reason: str | None
) -> Timeline:
    """A page of the story; free text is shown only while it is revealed, for the reason given then."""
    return api.get_timeline(
        customer_id, visit.app, visit.caller, cursor, STORY, channel or None, kind or None, reason is not None, reason
    )


def strip(visit: Visit, known: Material, *, revealed: bool) -> list[dict[str, Any]]:
    """Flags by purpose: may I, on which contact point, and why; a contact point is named by its reference in forms."""
    app, by_purpose = visit.app, dict[str, list[dict[str, Any]]]()
    now = app.clock()
    flags = zip(
        customer_flags(known, app.policy, now), present.flags(known, app.policy, now, revealed=revealed), strict=True
    )
    for raw, flag in flags:
        if raw.purpose == app.policy.restriction and raw.status not in DENIALS:
            continue  # it closes all others where it is denied, and else says nothing
        name = ref(app.pepper, raw.contact_point) if raw.contact_point else ""
        by_purpose.setdefault(raw.purpose, []).append({**flag, "point_ref": name})
    return [{"purpose": purpose, "flags": held} for purpose, held in by_purpose.items()]
