"""One box: whatever a person says on the phone, found. What is typed travels in the body, never in a URL."""

import base64
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from api import present
from api.console.visit import Agent, Visit
from api.reading import visible_fields
from cdp.loyalty.recall import tiers
from cdp.privacy.requests import OPEN
from cdp.standard import names as names_of
from cdp.standard.identify import candidates
from cdp.store import customers, holds, names, requests, review

router = APIRouter()
MOST = 20
LONGEST = 320
ASKED, ASKED_FOR = "cdp_asked", 900  # a cookie, seconds
DIFFER = ("email", "phone", "city", "postal_code", "country")


@router.get("/")
def home(visit: Agent) -> Response:
    """The box, whom this session looked at last, and what waits."""
    with visit.app.store() as store:
        recent = shown(visit, store, [(customer, []) for customer in visit.session.recent])
        pairs = review.waiting(store) if visit.may("review:write") else None
        due = len(requests.listed(store, list(OPEN))) if visit.may("privacy:write") else None
        waiting = holds.waiting(store, MOST) if visit.may("loyalty:write") else []
    return visit.page("home.html", recent=recent, pairs=pairs, due=due, waiting=waiting)


@router.post("/search")
def search(visit: Agent) -> Response:
    """Who it may be. One holder of an identifier is opened at once; several are listed with what tells them apart."""
    text = visit.said("q")[:LONGEST]
    if visit.request.headers.get("x-fragment") == "1":
        return results(visit, text, "_results.html")
    answer = visit.back("/search")  # a page of its own, which the browser's way back leads to
    packed = base64.urlsafe_b64encode(text.encode()).decode()
    answer.set_cookie(ASKED, packed, max_age=ASKED_FOR, path="/console/search", httponly=True, samesite="strict")
    return answer


@router.get("/search")
def asked(visit: Agent) -> Response:
    """What was asked for last, from the browser's own memory: it travels in no address, and stays for minutes."""
    try:
        text = base64.urlsafe_b64decode(visit.request.cookies.get(ASKED, "")).decode()[:LONGEST]
    except ValueError:
        text = ""
    return results(visit, text, "search.html") if text else visit.back("/")


def results(visit: Visit, text: str, template: str) -> Response:
    """Who it may be; a sure find of one person is opened at once."""
    with visit.app.store() as store:
        rows, sure = found(visit, store, text)
        listed = shown(visit, store, rows[:MOST])
    if sure and len(listed) == 1 and template == "search.html":
        return visit.back(f"/customers/{listed[0]['customer_id']}")
    telling = [name for name in DIFFER if len({row["raw"][name] for row in listed}) > 1]
    return visit.page(template, asked=text, rows=listed, telling=telling, more=len(rows) > MOST, sure=sure)


def found(visit: Visit, store: Any, text: str) -> tuple[list[tuple[str, list[str]]], bool]:
    """((customer, what matched), whether an identifier was found), the best first."""
    if not text or not text.isprintable():
        return [], False
    pairs = candidates(None, text, visit.app.regions)
    held = customers.lookup(store, [pairs], MOST + 1)
    if held:
        return [(row["customer_id"], row["matched"]) for row in held], True
    if "@" in text or not any(letter.isalpha() for letter in text):
        return [], False
    alike = names.customers(store, names_of.key(text), names_of.characters(text), MOST + 1)
    return [(row["customer_id"], ["name"]) for row in alike], False


def shown(visit: Visit, store: Any, rows: list[tuple[str, list[str]]]) -> list[dict[str, Any]]:
    """Customers as a list shows them, masked; `raw` only says what differs."""
    ids = [customer for customer, _ in rows]
    held = customers.profiles(store, ids)
    tier = tiers(store, list(held), visit.app.programme, visit.app.clock()) if visit.may("loyalty:read") else {}
    seen = visible_fields(visit.app, visit.caller, None)
    listed = []
    for customer, matched in rows:
        if customer not in held:
            continue
        profile = held[customer]["profile"]
        values = present.profile(profile, seen, revealed=False)
        listed.append(
            {
                "customer_id": customer, "matched": matched, "tier": tier.get(customer), "channels": profile["channels"],
                "last_seen": profile["last_seen"], "orders": sum(o["orders"] for o in profile["orders"].values()),
                "raw": {name: profile[name]["value"] for name in DIFFER}, "kind": held[customer]["kind"],
                **{name: values[name] for name in ("name", *DIFFER)},
            }
        )  # fmt: skip
    return listed
