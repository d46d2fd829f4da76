"""What a customer had done before, read from the ledger, where earning asks for it."""

from datetime import datetime
from typing import Any

import psycopg

from cdp.loyalty.giving import Plan
from cdp.loyalty.ladder import Climb, climb, standing
from cdp.loyalty.orders import Past
from cdp.loyalty.plans import PlanEvent
from cdp.loyalty.posting import qualifying
from cdp.loyalty.programme import Programme
from cdp.store import books, plans


def recall(store: psycopg.Connection, record: str, records: list[str], programme: Programme) -> Past:
    """What level, limits and membership of a record's customer rest on; nothing where no rule asks."""
    rows: list[dict[str, Any]] = books.issued(store, programme.programme, records) if programme.remembers else []
    return Past({record: rows}, {record: subscribed(store, records, programme)})


def subscribed(
    store: psycopg.Connection, records: list[str], programme: Programme
) -> list[tuple[Plan, list[PlanEvent]]]:
    """(terms, events) of each subscription of these records, where only members earn."""
    if programme.join != "paid":
        return []
    terms = {plan.code: plan for version in programme.versions for plan in version.plans}
    found = plans.of_records(store, records, programme.programme).values()
    return [(terms[code], events) for _, code, events in found if code in terms]


def way(store: psycopg.Connection, records: list[str], programme: Programme, now: datetime) -> Climb | None:
    """Where a customer stands on the programme's ladder; None where it has none."""
    if programme.ladder is None:
        return None
    accounts = books.of_records(store, records, programme.programme, programme.measured)
    rows = books.legs(store, [account.account_id for account in accounts]) if accounts else []
    return climb(qualifying(rows), programme, programme.ladder, now)


def tiers(store: psycopg.Connection, customers: list[str], programme: Programme, now: datetime) -> dict[str, str]:
    """Customer → tier held now, of many customers in two queries; nothing where the programme has no ladder."""
    if programme.ladder is None or not customers:
        return {}
    rows = books.legs_by_customer(store, customers, programme.programme, programme.measured)
    return {
        customer: standing(climb(qualifying(rows.get(customer, [])), programme, programme.ladder, now)).tier
        for customer in customers
    }
