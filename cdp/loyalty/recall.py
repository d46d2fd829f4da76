"""What a customer had done before, read from the ledger, where earning asks for it."""

from datetime import datetime

import psycopg

from cdp.loyalty.earning import Occasion, period
from cdp.loyalty.ladder import Climb, climb
from cdp.loyalty.orders import Past
from cdp.loyalty.posting import qualifying
from cdp.loyalty.programme import Programme
from cdp.store import books


def recall(store: psycopg.Connection, records: list[str], programme: Programme) -> Past:
    """What counts for the ladder and what limits gave, over all accounts of a customer; nothing where nobody asks."""
    past = Past()
    if not programme.remembers:
        return past
    accounts = [
        a.account_id for u in programme.units for a in books.of_records(store, records, programme.programme, u.code)
    ]
    rows = books.legs(store, accounts) if accounts else []
    counted = measured(programme)
    past.items = qualifying(row for row in rows if row["account_id"].split(":")[1] == counted)
    rules = {rule.code: rule for version in programme.versions for rule in version.rules if rule.limit is not None}
    past.bound = {row["posting_key"]: row["details"] for row in rows if row["details"] and row["revision"] == 0}
    for row in rows:
        for code, units in (row["details"] or {"rules": {}})["rules"].items():
            if (rule := rules.get(code)) is not None and rule.limit is not None and row["revision"] == 0:
                when = period(rule.limit, Occasion(row["occurred_at"], order_id=row["order_id"]), programme)
                past.tally.note(code, when, units)
    return past


def way(store: psycopg.Connection, records: list[str], programme: Programme, now: datetime) -> Climb | None:
    """Where a customer stands on the programme's ladder; None where it has none."""
    if programme.ladder is None:
        return None
    accounts = books.of_records(store, records, programme.programme, measured(programme))
    rows = books.legs(store, [account.account_id for account in accounts]) if accounts else []
    return climb(qualifying(rows), programme, programme.ladder, now)


def measured(programme: Programme) -> str:
    """The code of the unit that decides the level; empty where there is no ladder."""
    return programme.measure(programme.ladder).unit if programme.ladder else ""
