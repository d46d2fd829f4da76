"""The ledger's tables: accounts locked, facts and open lots read, legs and derived rows written."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import psycopg

from cdp.loyalty.lots import Lot, State

CONTRA = {
    "earn": "issued", "opening": "adjusted", "clawback": "issued", "redeem": "redeemed", "restore": "redeemed", "expire": "expired",
    "adjust": "adjusted",
}  # fmt: skip
LOT = "lot_id::text, transaction_id::text, account_id, amount, remaining, occurred_at, opened_at, expires_at, order_id, origin::text"


ACCOUNT = "l.account_id, l.account_no, l.record_id, l.balance, l.version, l.last_at"


@dataclass(frozen=True)
class Account:
    """An account as it was when it was locked."""

    account_id: str
    number: int
    record_id: str
    balance: int
    version: int
    last_at: datetime | None


@dataclass(frozen=True)
class Leg:
    """One row of the ledger: an amount that moves between an account and one of the programme's own."""

    entry_id: str
    transaction_id: str
    account_id: str
    kind: str
    amount: int
    occurred_at: datetime
    key: str
    revision: int
    reason: str
    actor: str
    version: str
    order_id: str | None = None
    original_order_id: str | None = None
    scope: tuple[int, ...] | None = None
    reverses: str | None = None
    expires_at: datetime | None = None
    contra: str | None = None
    details: dict[str, Any] | None = None


def open_accounts(store: psycopg.Connection, accounts: list[tuple[str, str, str, str]], now: datetime) -> list[Account]:
    """Make accounts (id, record, programme, unit) that are not there yet; returns them."""
    rows = store.execute(
        "insert into ledger_accounts as l (account_id, record_id, programme, unit, opened_at) "
        "select *, %s::timestamptz from unnest(%s::text[], %s::text[], %s::text[], %s::text[]) "
        f"on conflict (account_id) do update set version = l.version returning {ACCOUNT}",
        [now, *([list(column) for column in zip(*accounts, strict=True)] or [[], [], [], []])],
    ).fetchall()
    return [Account(*row) for row in rows]


@dataclass
class Locked:
    """A customer whose accounts are ours until the transaction ends; None: a record that is nobody's."""

    customer_id: str | None
    records: list[str]
    accounts: list[Account]
    open: State | None = None
    held: int = 0


OPEN = "select * from store.ledger_open(%s, %s, %s, %s, %s::uuid[], %s)"


def lock(
    store: psycopg.Connection,
    records: list[str],
    programme: str,
    unit: str,
    now: datetime | None = None,
    asked: Sequence[str] = (),
    needed: int | None = None,
) -> tuple[list[Locked], set[str]]:
    """The customers of these records, locked in id order: one row for each stands for its assignment and all its accounts.

    Whoever changes an assignment locks the same row, so nobody moves a record meanwhile. What is open and set aside is
    read with it, in one round trip.

    Args:
        store: In a transaction.
        records: Whose customers.
        programme: Its name.
        unit: The unit's code.
        now: What is set aside at this moment; at none where left out.
        asked: Transactions.
        needed: Only lots that a debit of so much draws from, and those that have ended, are read; all of them where left out.

    Returns:
        The customers, and which of the transactions were posted before.
    """
    found = store.execute(OPEN, [records, programme, unit, now, list(asked), needed], binary=True).fetchall()
    customers: dict[str, Locked] = {}
    of_account, of_record = dict[str, Locked](), dict[str, Locked]()
    for _, record, customer, *_ in sorted(row for row in found if row[0] == "record"):
        item = of_record[record] = customers.setdefault(customer, Locked(customer, [], [], State()))
        item.records.append(record)
    owed = []
    for what, *row in found:
        if what == "account":
            item = of_account[row[2]] = of_record[row[0]]
            item.accounts.append(Account(row[2], row[3], row[0], row[4], int(row[8]), row[5]))
        elif what == "lot":
            _state(of_account[row[2]]).lots[row[0]] = Lot(*row)
        elif what == "deficit":
            owed.append((row[5], row[1], row[2], row[3]))
        elif what == "held":
            of_record[row[2]].held += row[3]
    for _, transaction, account, amount in sorted(owed):
        _state(of_account[account]).deficits[transaction, account] = amount
    alone = _alone(store, sorted(set(records) - set(of_record)), programme, unit)
    return [*customers.values(), *alone], {row[2] for row in found if row[0] == "posted"}


def _state(item: Locked) -> State:
    assert item.open is not None
    return item.open


def _alone(store: psycopg.Connection, records: list[str], programme: str, unit: str) -> list[Locked]:
    """Accounts of records that belong to no customer."""
    if not records:
        return []
    rows = store.execute(
        f"select {ACCOUNT} from ledger_accounts l where record_id = any(%s) and programme = %s and unit = %s order by account_id for update",
        [records, programme, unit],
    ).fetchall()
    of = {account.record_id: account for account in (Account(*row) for row in rows)}
    return [Locked(None, [record], [of[record]] if record in of else []) for record in records]


def known(store: psycopg.Connection, transactions: list[str]) -> set[str]:
    """Which of these transactions have been posted."""
    rows = store.execute(
        "select distinct transaction_id::text from ledger_entries where transaction_id = any(%s::uuid[])",
        [transactions],
    )
    return {str(row[0]) for row in rows}


def touch(store: psycopg.Connection, account_id: str) -> None:
    """What may be spent has changed, though no entry was posted."""
    store.execute("update ledger_accounts set version = version + 1 where account_id = %s", [account_id])


STATE = f"""
    select 'lot', {LOT} from ledger_lots where account_id = any(%(accounts)s) and remaining > 0
    union all
    select 'deficit', null, transaction_id::text, account_id, amount, null, occurred_at, null, null, null, null
    from ledger_deficits where account_id = any(%(accounts)s)
"""
KNOWN = """
    union all
    select distinct 'posted', null, transaction_id::text, null, null::bigint, null::bigint, null::timestamptz, null::timestamptz, null::timestamptz, null, null
    from ledger_entries where transaction_id = any(%(asked)s::uuid[])
"""
ASKED = """
    union all
    select 'held', null, null, null, coalesce(sum(amount), 0)::bigint, null, null, null, null, null, null from ledger_holds
    where record_id = any(%(records)s) and programme = %(programme)s and unit = %(unit)s and resolved_at is null and expires_at > %(now)s
"""


def open_state(
    store: psycopg.Connection,
    accounts: list[str],
    transactions: list[str] | None = None,
    holder: dict[str, Any] | None = None,
) -> tuple[State, set[str], int]:
    """Open lots and deficits of these accounts: all that a fact later than the others needs; in one query.

    Args:
        store: Where.
        accounts: Which.
        transactions: Which of these were posted is read too.
        holder: Records, programme, unit, now: what is set aside for them is read too.

    Returns:
        The state, the transactions that were posted, units set aside.
    """
    state, posted, held, owed = State(), set[str](), 0, list[tuple[datetime, str, str, int]]()
    query = STATE + (KNOWN if transactions else "") + (ASKED if holder else "")
    for what, *row in store.execute(query, {"accounts": accounts, "asked": transactions, **(holder or {})}):
        if what == "lot":
            state.lots[row[0]] = Lot(*row)
        elif what == "deficit":
            owed.append((row[5], row[1], row[2], row[3]))
        elif what == "held":
            held = row[3]
        else:
            posted.add(row[1])
    state.deficits = {(transaction, account): amount for _, transaction, account, amount in sorted(owed)}
    return state, posted, held


@dataclass
class Rows:
    """What is written together: legs, and the derived rows that go with them.

    Attributes:
        lots: New lots.
        allocations: What debits drew from lots: (transaction, lot) → units.
        deficits: New deficits: (transaction, account) → units.
        times: When each debit with a deficit happened.
        drawn: Lots that were drawn from.
        smaller: Deficits that are smaller now.
        paid: Deficits that are gone.
        told: Customers of whose balance the feed learns.
    """

    legs: list[Leg] = field(default_factory=list)
    lots: list[Lot] = field(default_factory=list)
    allocations: dict[tuple[str, str], int] = field(default_factory=dict)
    deficits: dict[tuple[str, str], int] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    drawn: list[Lot] = field(default_factory=list)
    smaller: dict[tuple[str, str], int] = field(default_factory=dict)
    paid: list[tuple[str, str]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


WRITE = "select store.ledger_write(%s, %s::jsonb)"


def write(store: psycopg.Connection, rows: Rows, now: datetime) -> None:
    """Append legs, bring the snapshots of their accounts up to date, write derived rows: all of it in one call."""
    moved, last = defaultdict[str, int](int), dict[str, datetime]()
    for leg in rows.legs:
        moved[leg.account_id] += leg.amount
        last[leg.account_id] = max(leg.occurred_at, last.get(leg.account_id, leg.occurred_at))
    parts: dict[str, list[Any]] = {
        "legs": [_leg(leg) for leg in rows.legs],
        "moved": [{"account_id": a, "amount": n, "last_at": last[a]} for a, n in sorted(moved.items())],
        "lots": [_lot(lot) for lot in rows.lots],
        "allocations": [{"transaction_id": d, "lot_id": lot, "amount": n} for (d, lot), n in rows.allocations.items()],
        "deficits": [{"transaction_id": d, "account_id": a, "amount": n, "occurred_at": rows.times[d]} for (d, a), n in rows.deficits.items()],
        "drawn": [{"lot_id": lot.lot_id, "remaining": lot.remaining} for lot in rows.drawn],
        "smaller": [{"transaction_id": d, "account_id": a, "amount": n} for (d, a), n in rows.smaller.items()],
        "paid": [{"transaction_id": d, "account_id": a} for d, a in rows.paid],
        "told": rows.told,
    }  # fmt: skip
    if said := {name: part for name, part in parts.items() if part}:
        store.execute(WRITE, [now, orjson.dumps(said).decode()])


def rewrite(store: psycopg.Connection, accounts: list[str], rows: Rows, now: datetime) -> None:
    """Write legs, and the derived rows of accounts over what was derived before."""
    with store.pipeline():
        store.execute(
            "delete from ledger_allocations where lot_id in (select lot_id from ledger_lots where account_id = any(%s))",
            [accounts],
        )
        store.execute("delete from ledger_deficits where account_id = any(%s)", [accounts])
        store.execute("delete from ledger_lots where account_id = any(%s)", [accounts])
        write(store, rows, now)


def _leg(leg: Leg) -> dict[str, Any]:
    return {
        "entry_id": leg.entry_id, "account_id": leg.account_id, "kind": leg.kind, "amount": leg.amount, "occurred_at": leg.occurred_at,
        "posting_key": leg.key, "revision": leg.revision, "order_id": leg.order_id, "original_order_id": leg.original_order_id,
        "programme_version": leg.version, "reason": leg.reason, "actor": leg.actor, "transaction_id": leg.transaction_id,
        "contra": leg.contra or CONTRA[leg.kind], "scope": leg.scope, "reverses": leg.reverses, "expires_at": leg.expires_at, "details": leg.details,
    }  # fmt: skip


def _lot(lot: Lot) -> dict[str, Any]:
    return {
        "lot_id": lot.lot_id, "transaction_id": lot.fact_id, "account_id": lot.account, "amount": lot.amount, "remaining": lot.remaining,
        "occurred_at": lot.at, "opened_at": lot.opened_at, "expires_at": lot.expires_at, "order_id": lot.order_id, "origin": lot.origin,
    }  # fmt: skip
