"""One box: whatever a person says on the phone, found. What is typed travels in the body, never in a URL."""

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
    with visit.app.store() as store:
        rows, sure = found(visit, store, text)
        listed = shown(visit, store, rows[:MOST])
    fragment = visit.request.headers.get("x-fragment") == "1"
    if sure and len(listed) == 1 and not fragment:
        return visit.back(f"/customers/{listed[0]['customer_id']}")
    telling = [name for name in DIFFER if len({row["raw"][name] for row in listed}) > 1]
    more = len(rows) > MOST
    template = "_results.html" if fragment else "search.html"
    return visit.page(template, asked=text, rows=listed, telling=telling, more=more, sure=sure)


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
