"""One customer: profile, timeline, consents, loyalty; and finding them."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Query

from api import present
from api.context import App, ConsentReader, Context, LoyaltyReader, ProfileReader
from api.problems import Forbidden, responses
from api.schemas import Consents, Customer, Lookup, Loyalty, Matches, Timeline
from cdp.consent.flags import customer_flags
from cdp.errors import CdpError, NotFound
from cdp.loyalty.rules import tier
from cdp.standard.identify import candidates
from cdp.store import assignment, consents, customers, keys, releases

router = APIRouter(prefix="/v1/customers", tags=["customers"])
ERRORS = responses(401, 403, 404, 422, 503)
MOST_MATCHES = 20
MOVEMENTS = 20
Reveal = Annotated[bool, Query(description="Show values unmasked; needs profiles:reveal and is audited")]


class BadCursor(CdpError):
    """A cursor that this server did not make."""

    status_code = 422
    title = "Invalid request"


@router.post("/lookup", responses=responses(401, 403, 422, 503))
def lookup(asked: Lookup, app: App, key: ProfileReader) -> Matches:
    """Find customers by any identifier. It travels in the body: URLs end up in logs."""
    pairs = candidates(asked.type, asked.value, app.regions)
    with app.store() as store:
        found = customers.lookup(store, pairs, MOST_MATCHES + 1) if pairs else []
        rows = [(row, customers.profile(store, row["customer_id"])) for row in found[:MOST_MATCHES]]
    matches = [_match(row, stored) for row, stored in rows if stored is not None]
    return Matches.model_validate({"customers": matches, "more": len(found) > MOST_MATCHES})


@router.get("/{customer_id}", responses=ERRORS)
def get_customer(customer_id: UUID, app: App, key: ProfileReader, reveal: Reveal = False) -> Customer:
    """The profile with the record each value came from. A retired id answers with the customer it became."""
    with app.store() as store:
        living, stored = living_customer(store, customer_id)
        if reveal:
            _reveal(app, store, key, "profile.reveal", living)
        members = customers.records(store, living)
        release = releases.newest(store)
    profile = stored["profile"]
    return Customer.model_validate(
        {
            "customer_id": living,
            "requested_id": str(customer_id),
            "merged_into": living if living != str(customer_id) else None,
            "kind": stored["kind"],
            **present.profile(profile, revealed=reveal),
            **{name: profile[name] for name in ("channels", "first_seen", "last_seen", "orders")},
            "records": [{**row, "record_id": present.record(row["record_id"], revealed=reveal)} for row in members],
            "revealed": reveal,
            "data_as_of": release[0].as_of if release else None,
        }
    )


@router.get("/{customer_id}/timeline", responses=ERRORS)
def get_timeline(
    customer_id: UUID,
    app: App,
    key: ProfileReader,
    cursor: Annotated[str | None, Query(max_length=400, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    reveal: Reveal = False,
) -> Timeline:
    """Everything that happened on any channel, newest first. Free text is withheld unless revealed."""
    before = _read_cursor(cursor) if cursor else None
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        if reveal:
            _reveal(app, store, key, "timeline.reveal", living)
        rows = customers.timeline(store, living, before, limit + 1)
    page = [
        {
            **row,
            "record_id": present.record(row["record_id"], revealed=reveal),
            "details": present.details(row["details"], revealed=reveal),
        }
        for row in rows[:limit]
    ]
    more = _write_cursor(rows[limit - 1]) if len(rows) > limit else None
    return Timeline.model_validate({"customer_id": living, "items": page, "next": more})


@router.get("/{customer_id}/consents", responses=ERRORS)
def get_consents(customer_id: UUID, app: App, key: ConsentReader, reveal: Reveal = False) -> Consents:
    """Effective consent for every purpose and contact point, computed now from the decisions."""
    now = app.clock()
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        if reveal:
            _reveal(app, store, key, "consents.reveal", living)
        known = consents.material(store, living)
    flags = [
        {
            **vars(flag),
            "contact_point": present.point(flag.contact_point, revealed=reveal),
            "conflicting": list(flag.conflicting),
        }
        for flag in customer_flags(known, app.policy, now)
    ]
    return Consents.model_validate({"customer_id": living, "as_of": now, "consents": flags})


@router.get("/{customer_id}/loyalty", responses=ERRORS)
def get_loyalty(customer_id: UUID, app: App, key: LoyaltyReader) -> Loyalty:
    """Balance over all the customer's accounts, tier with what the next one takes, newest movements."""
    programme = app.programme
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        accounts, entries = customers.loyalty(store, living)
    qualifying = [(row["occurred_at"], row["amount"]) for row in entries if row["kind"] != "redeem"]
    shown = ("entry_id", "kind", "amount", "occurred_at", "reason", "order_id")
    return Loyalty.model_validate(
        {
            "customer_id": living,
            "programme": programme.programme,
            "programme_version": programme.version,
            "unit": programme.unit,
            "balance": sum(account["balance"] for account in accounts),
            "tier": vars(tier(qualifying, programme, app.clock())),
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


def _reveal(app: Context, store: psycopg.Connection, key: keys.Key, action: str, customer_id: str) -> None:
    if not key.allows("profiles:reveal"):
        raise Forbidden("this key lacks the scope profiles:reveal")
    customers.audit(store, key.key_id, action, customer_id, app.clock())


def _match(row: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    shown = present.profile(stored["profile"], revealed=False)
    return {
        "customer_id": row["customer_id"],
        "matched": row["matched"],
        "kind": stored["kind"],
        "channels": stored["profile"]["channels"],
        **{name: shown[name] for name in ("name", "email", "phone")},
    }


def _account(row: dict[str, Any]) -> dict[str, Any]:
    record = present.record(row["record_id"], revealed=False)
    return {
        "account_id": f"{row['programme']}:{row['unit']}:{record}",
        "record_id": record,
        "balance": row["balance"],
    }


def _write_cursor(row: dict[str, Any]) -> str:
    text = f"{row['occurred_at'].isoformat()}|{row['id']}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        at, last = base64.urlsafe_b64decode(cursor.encode()).decode().split("|", 1)
        if "\x00" in last:
            raise ValueError("not a cursor")
        return datetime.fromisoformat(at), last
    except (ValueError, binascii.Error) as error:
        raise BadCursor("this cursor was not made by this endpoint") from error
