"""One customer: profile, timeline, consents, loyalty; and finding them."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Query

from api import present
from api.context import App, Caller, Context, LoyaltyReader, ProfileReader
from api.problems import Forbidden, responses
from api.schemas import Customer, Lookup, Loyalty, Matches, Timeline, Withheld
from cdp.consent.fields import Visible, visible
from cdp.consent.policy import ABSOLUTE
from cdp.consent.resolve import Material
from cdp.errors import CdpError, NotFound
from cdp.loyalty.ladder import standing
from cdp.loyalty.recall import way
from cdp.standard.identify import candidates
from cdp.store import assignment, consents, customers, releases

router = APIRouter(prefix="/v1/customers", tags=["customers"])
ERRORS = responses(401, 403, 404, 422, 503)
MOST_MATCHES = 20
MOVEMENTS = 20
Reveal = Annotated[bool, Query(description="Show values unmasked; needs profiles:reveal and is audited")]
Reason = Annotated[
    str | None, Query(max_length=200, description="Why they are revealed, for the audit log; no personal data")
]


class BadCursor(CdpError):
    """A cursor that this server did not make."""

    status_code = 422
    title = "Invalid request"


@router.post("/lookup", responses=responses(401, 403, 422, 503))
def lookup(asked: Lookup, app: App, caller: ProfileReader) -> Matches:
    """Find customers by any identifier. It travels in the body: URLs end up in logs."""
    pairs = candidates(asked.type, asked.value, app.regions)
    with app.store() as store:
        found = customers.lookup(store, pairs, MOST_MATCHES + 1) if pairs else []
        shown = [row["customer_id"] for row in found[:MOST_MATCHES]]
        profiles = {customer: customers.profile(store, customer) for customer in shown}
        consent = consents.materials(store, shown)
    matches = [
        _match(row, stored, consent[row["customer_id"]], app, caller)
        for row in found[:MOST_MATCHES]
        if (stored := profiles[row["customer_id"]]) is not None
    ]
    return Matches.model_validate({"customers": matches, "more": len(found) > MOST_MATCHES})


@router.get("/{customer_id}", responses=ERRORS)
def get_customer(
    customer_id: UUID, app: App, caller: ProfileReader, reveal: Reveal = False, reason: Reason = None
) -> Customer:
    """The profile with the record each value came from. A retired id answers with the customer it became."""
    with app.store() as store:
        living, stored = living_customer(store, customer_id)
        if reveal:
            revealing(app, store, caller, "profile.reveal", living, reason)
        known = consents.material(store, living)
        members = customers.records(store, living)
        release = releases.newest(store)
    profile, seen = stored["profile"], visible_fields(app, caller, known)
    no_orders, whole = seen.reason("timeline"), reveal and answers_the_person(app, caller)
    return Customer.model_validate(
        {
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
        }
    )


@router.get("/{customer_id}/timeline", responses=ERRORS)
def get_timeline(
    customer_id: UUID,
    app: App,
    caller: ProfileReader,
    cursor: Annotated[str | None, Query(max_length=400, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
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
        rows = customers.timeline(store, living, before, limit + 1)
    page = [
        {
            **row,
            "record_id": present.record(row["record_id"], revealed=reveal),
            "details": present.details(row["details"], revealed=reveal),
        }
        for row in rows[:limit]
    ]
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


def living_customer(store: psycopg.Connection, customer_id: UUID) -> tuple[str, dict[str, Any]]:
    """The customer an id stands for today, with the published profile."""
    living = assignment.resolve(store, str(customer_id))
    stored = customers.profile(store, living) if living is not None else None
    if living is None or stored is None:
        raise NotFound("no customer has this id")
    return living, stored


def revealing(
    app: Context, store: psycopg.Connection, caller: Caller, action: str, customer_id: str, reason: str | None
) -> None:
    """Note who sees unmasked data and why, committed before it is shown."""
    if not caller.key.allows("profiles:reveal"):
        raise Forbidden("this key lacks the scope profiles:reveal")
    if not action.startswith("profile.") and not answers_the_person(app, caller):
        raise Forbidden(f"the purpose {caller.purpose} reveals fields of a profile, nothing else")
    app.trail.write(store, caller.event(action, customer_id, reason=reason))


def answers_the_person(app: Context, caller: Caller) -> bool:
    """Whether the purpose needs no consent, as service does: it may see what no single field's consent covers."""
    return app.policy.purposes[caller.purpose].basis in ABSOLUTE


def visible_fields(app: Context, caller: Caller, known: Material | None) -> Visible:
    """What this caller may read of a customer for its purpose."""
    return visible(app.policy, caller.purpose, (*present.FIELDS, "timeline", "loyalty"), known, app.clock())


def _withheld(app: Context, caller: Caller, store: psycopg.Connection, customer: str, field: str) -> str | None:
    return visible_fields(app, caller, consents.material(store, customer)).withheld.get(field)


def _match(
    row: dict[str, Any], stored: dict[str, Any], known: Material, app: Context, caller: Caller
) -> dict[str, Any]:
    shown = present.profile(stored["profile"], visible_fields(app, caller, known), revealed=False)
    return {
        "customer_id": row["customer_id"],
        "matched": row["matched"],
        "kind": stored["kind"],
        "channels": stored["profile"]["channels"],
        "consents": present.flags(known, app.policy, app.clock(), revealed=False),
        **{name: shown[name] for name in ("name", "email", "phone")},
    }


def _account(row: dict[str, Any]) -> dict[str, Any]:
    record = present.record(row["record_id"], revealed=False)
    return {
        "account_id": f"{row['programme']}:{row['unit']}:{record}",
        "record_id": record,
        "balance": row["balance"],
    }


def write_cursor(row: dict[str, Any]) -> str:
    """A cursor that stands for a row's time and id."""
    text = f"{row['occurred_at'].isoformat()}|{row['id']}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """The (time, id) a cursor stands for."""
    try:
        at, last = base64.urlsafe_b64decode(cursor.encode()).decode().split("|", 1)
        if "\x00" in last:
            raise ValueError("not a cursor")
        return datetime.fromisoformat(at), last
    except (ValueError, binascii.Error) as error:
        raise BadCursor("this cursor was not made by this endpoint") from error
