"""One customer: profile, timeline, consents, loyalty; and finding them."""

from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from api import present
from api.context import App, Caller, Context, LoyaltyReader, ProfileReader
from api.loyalty import acting
from api.problems import responses
from api.reading import answers_the_person, living_customer, read_cursor, revealing, visible_fields, write_cursor
from api.schemas import Answers, Customer, Lookups, LookupWith, Loyalty, Matches, Timeline, Withheld
from api.view import Part, etag, included, item, matches, must_read_points, shown_points, wanted, who
from cdp.consent.fields import Visible
from cdp.loyalty import operations
from cdp.loyalty.ladder import standing
from cdp.loyalty.operations import Act, Standing
from cdp.loyalty.recall import way
from cdp.standard.identify import candidates
from cdp.store import cards, consents, customers, releases
from cdp.store.cards import Card

router = APIRouter(prefix="/v1/customers", tags=["customers"])
ERRORS = responses(401, 403, 404, 422, 503)
MOST_MATCHES = 20
MOVEMENTS = 20
Reveal = Annotated[bool, Query(description="Show values unmasked; needs profiles:reveal and is audited")]
Reason = Annotated[
    str | None, Query(max_length=200, description="Why they are revealed, for the audit log; no personal data")
]


@router.post("/lookup", response_model=Matches, responses=responses(401, 403, 422, 503))
async def lookup(asked: LookupWith, app: App, caller: ProfileReader) -> Response:
    """Find customers by any identifier. It travels in the body: URLs end up in logs."""
    act = acting(app, caller, "read") if asked.include else None
    if act is not None:
        must_read_points(caller)
    unit = (act.programme.programme, act.programme.unit) if act is not None else None
    pairs = candidates(asked.type, asked.value, app.regions)
    async with app.pools.reading() as reading:
        found = await cards.of_holders(reading, pairs, MOST_MATCHES + 1, app.clock(), unit)
    shown = found[:MOST_MATCHES]
    stands = await _standings(app, shown, act) if act is not None else {}
    held = [_match(card, app, caller, act, stands.get(card.customer_id)) for card in shown]
    said = {"customers": held, "more": len(found) > MOST_MATCHES}
    return Response(to_json(said), media_type="application/json")  # as `Matches`, which tests hold it to


@router.post("/lookup/batch", responses=responses(401, 403, 422, 503))
def lookup_many(asked: Lookups, app: App, caller: ProfileReader) -> Answers:
    """Find who holds up to 1,000 identifiers at once. Ids alone: what may be shown of each is asked for one by one."""
    pairs = [candidates(one.type, one.value, app.regions) for one in asked.lookups]
    with app.store() as store:
        found = customers.lookup(store, pairs, MOST_MATCHES)
    answers: list[list[dict[str, Any]]] = [[] for _ in pairs]
    for row in found:
        answers[row["n"]].append({"customer_id": row["customer_id"], "matched": row["matched"]})
    return Answers.model_validate({"answers": answers})


@router.get(
    "/{customer_id:uuid}",  # `lookup` and `merge` are no customers
    response_model=Customer,
    responses=ERRORS | {304: {"description": "As the caller has it"}},
)
def get_customer(
    customer_id: UUID,
    app: App,
    caller: ProfileReader,
    include: Annotated[list[Part] | None, Query(description="What else to answer; repeat it for several")] = None,
    fields: Annotated[
        str | None,
        Query(max_length=400, pattern="^[a-z_]+(,[a-z_]+)*$", description="Only these members, separated by commas; all of the profile where left out"),
    ] = None,
    reveal: Reveal = False,
    reason: Reason = None,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Any:  # fmt: skip
    """The single view: the profile with the record each value came from, and what `include` asks for.

    A retired id answers with the customer it became. `ETag` is the answer's version: send it back as `If-None-Match` and an
    unchanged one answers 304; send it as `If-Match` with a change.
    """
    named = wanted(fields, include or [])
    with app.store() as store:
        living, stored = living_customer(store, customer_id)
        if reveal:
            revealing(app, store, caller, "profile.reveal", living, reason)
        known = consents.material(store, living)
        members = customers.records(store, living)
        release = releases.newest(store)
        seen, whole = visible_fields(app, caller, known), reveal and answers_the_person(app, caller)
        parts = included(store, app, caller, living, seen, known, named, revealed=whole)
    profile, no_orders = stored["profile"], seen.reason("timeline")
    said = {
        "customer_id": living,
        "requested_id": str(customer_id),
        "merged_into": living if living != str(customer_id) else None,
        "kind": stored["kind"],
        **present.profile(profile, seen, revealed=reveal),
        # record ids and contact points may hold addresses and cards: open only where the purpose may see those
        **{name: profile[name] for name in ("channels", "first_seen", "last_seen")},
        "orders": {} if no_orders else profile["orders"],
        "orders_withheld": no_orders,
        "records": [{**row, "record_id": present.record(row["record_id"], revealed=whole)} for row in members],
        "consents": present.flags(known, app.policy, app.clock(), revealed=whole),
        "purpose": caller.purpose,
        "revealed": reveal,
        "data_as_of": release[0].as_of if release else None,
        **parts,
    }
    said = {name: value for name, value in said.items() if name in named}
    tag = etag(
        app.pepper,
        who(app.pepper, stored, members),
        {name: value for name, value in said.items() if name != "data_as_of"},
    )
    if matches(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    shown = Customer.model_validate(said).model_dump(mode="json")
    return JSONResponse({name: shown[name] for name in said}, headers={"ETag": tag})


@router.get("/{customer_id}/timeline", responses=ERRORS)
def get_timeline(
    customer_id: UUID,
    app: App,
    caller: ProfileReader,
    cursor: Annotated[str | None, Query(max_length=400, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    channel: Annotated[str | None, Query(max_length=60, description="Only what happened there")] = None,
    kind: Annotated[
        str | None, Query(max_length=60, alias="type", description="Only this type: order, return, ticket, points …")
    ] = None,
    reveal: Reveal = False,
    reason: Reason = None,
) -> Timeline:
    """Everything that happened on any channel, newest first. Free text is withheld unless revealed."""
    before = read_cursor(cursor) if cursor else None
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        if withheld := _withheld(app, caller, store, living, "timeline"):
            return Timeline(customer_id=living, items=[], withheld=withheld, next=None)
        if reveal:
            revealing(app, store, caller, "timeline.reveal", living, reason)
        rows = customers.timeline(store, living, before, limit + 1, channel, kind)
    page = [item(row, revealed=reveal) for row in rows[:limit]]
    more = write_cursor(rows[limit - 1]) if len(rows) > limit else None
    ends = app.retention.timeline_ends(app.clock())
    return Timeline.model_validate({"customer_id": living, "items": page, "next": more, "ends_at": ends})


@router.get("/{customer_id}/loyalty", responses=ERRORS)
def get_loyalty(customer_id: UUID, app: App, caller: LoyaltyReader) -> Loyalty | Withheld:
    """Balance over all the customer's accounts, tier with what the next one takes, newest movements."""
    programme = app.programme
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        if withheld := _withheld(app, caller, store, living, "loyalty"):
            return Withheld(customer_id=living, withheld=withheld)
        accounts, entries = customers.loyalty(store, living)
        walked = way(store, [account["record_id"] for account in accounts], programme, app.clock())
    shown = ("entry_id", "kind", "unit", "amount", "occurred_at", "reason", "order_id")
    return Loyalty.model_validate(
        {
            "customer_id": living,
            "programme": programme.programme,
            "programme_version": programme.version,
            "unit": programme.spends or programme.unit,
            "balance": sum(
                account["balance"] for account in accounts if account["unit"] == (programme.spends or programme.unit)
            ),
            "balances": [
                {"unit": unit.code, "balance": sum(a["balance"] for a in accounts if a["unit"] == unit.code)}
                for unit in programme.units
            ],
            "tier": vars(standing(walked)) if walked is not None else None,
            "accounts": [_account(account) for account in accounts],
            "movements": [{name: row[name] for name in shown} for row in entries[:MOVEMENTS]],
        }
    )


def _withheld(app: Context, caller: Caller, store: psycopg.Connection, customer: str, field: str) -> str | None:
    return visible_fields(app, caller, consents.material(store, customer)).withheld.get(field)


async def _standings(app: Context, shown: list[Card], act: Act) -> dict[str, Standing]:
    """How each customer's points stand; the store is asked where its snapshots do not tell."""
    if operations.told_by_snapshots(act.programme):
        return {card.customer_id: operations.from_card(card) for card in shown}

    def read() -> dict[str, Standing]:
        with app.store() as store:
            return {card.customer_id: operations.read(store, card.customer_id, act)[1] for card in shown}

    return await run_in_threadpool(read)


def _match(card: Card, app: Context, caller: Caller, act: Act | None, stands: Standing | None) -> dict[str, Any]:
    """One answer of a lookup; with points where it is said whose and when."""
    known = card.material
    seen = visible_fields(app, caller, known)
    shown = present.profile(card.profile, seen, revealed=False)
    return {
        "customer_id": card.customer_id,
        "matched": card.matched,
        "kind": card.kind,
        "channels": card.profile["channels"],
        "consents": present.flags(known, app.policy, app.clock(), revealed=False),
        **{name: shown[name] for name in ("name", "email", "phone")},
        **({"loyalty": _points(act, stands, seen)} if act is not None and stands is not None else {}),
    }


def _points(act: Act, stands: Standing, seen: Visible) -> dict[str, Any]:
    if reason := seen.reason("loyalty"):
        return {"withheld": reason}
    return shown_points(act, stands)


def _account(row: dict[str, Any]) -> dict[str, Any]:
    record = present.record(row["record_id"], revealed=False)
    return {
        "account_id": f"{row['programme']}:{row['unit']}:{record}",
        "record_id": record,
        "balance": row["balance"],
    }
