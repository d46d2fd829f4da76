"""The ledger's tables: accounts locked, facts and open lots read, legs and derived rows written."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
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


LOCK = """
    select customer_id::text from customers where customer_id in (select customer_id from assignment where record_id = any(%(records)s))
    order by customer_id for no key update
"""
OPENED = """
    with mine as materialized (
        select record_id, customer_id from assignment
        where customer_id in (select customer_id from assignment where record_id = any(%(records)s))
    ), own as materialized (
        select l.* from ledger_accounts l join mine using (record_id) where l.programme = %(programme)s and l.unit = %(unit)s
    )
    select 'account', m.record_id, m.customer_id::text, l.account_id, l.account_no, l.balance, l.last_at, null::timestamptz, null::timestamptz,
        l.version::text, null::text
    from mine m left join own l using (record_id)
    union all
    select 'deficit', null, transaction_id::text, account_id, amount, null, occurred_at, null, null, null, null
    from ledger_deficits where account_id in (select account_id from own)
"""

# by account, whatever the planner believes of sizes: a lateral that is not pulled up
OPEN_LOTS = """
    own cross join lateral (select * from ledger_lots l where l.account_id = own.account_id and l.remaining > 0 offset 0) as open
"""
LOTS = ", ".join(f"open.{name.strip()}" for name in LOT.split(","))
EVERY_LOT = f"union all select 'lot', {LOTS} from {OPEN_LOTS}"
ENDED_LOTS = f"""
    union all
    select 'lot', {LOTS} from own cross join lateral (
        select * from ledger_lots l where l.account_id = own.account_id and l.expires_at <= %(now)s and l.remaining > 0 offset 0
    ) as open
"""
ENOUGH_LOTS = f"""
    union all
    select 'lot', {LOT} from (
        select open.*, sum(remaining) over (order by coalesce(expires_at, 'infinity'), occurred_at, lot_id) - remaining as before from {OPEN_LOTS}
    ) as l where before < %(needed)s or expires_at <= %(now)s
"""  # in the order in which a debit draws
SET_ASIDE = """
    union all
    select 'held', null, null, record_id, amount, null, null, null, null, null, null from ledger_holds
    where record_id in (select record_id from mine) and programme = %(programme)s and unit = %(unit)s and resolved_at is null and expires_at > %(now)s
"""
KNOWN = """
    union all
    select distinct 'posted', null, transaction_id::text, null, null::bigint, null::bigint, null::timestamptz, null::timestamptz, null::timestamptz, null, null
    from ledger_entries where transaction_id = any(%(asked)s::uuid[])
"""


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
    said = {
        "records": records,
        "programme": programme,
        "unit": unit,
        "now": now,
        "asked": list(asked),
        "needed": needed,
    }
    lots = EVERY_LOT if needed is None or now is None else ENOUGH_LOTS if needed else ENDED_LOTS
    query = OPENED + lots + (SET_ASIDE if now is not None else "") + (KNOWN if asked else "")
    while True:
        # two statements: the second sees what was committed while the first waited
        ours = {str(row[0]) for row in store.execute(LOCK, said)}
        found = store.execute(query, said, binary=True).fetchall()
        people = sorted((row[1:] for row in found if row[0] == "account"), key=lambda row: str(row[0]))
        if all(row[1] in ours for row in people):  # else a record moved while we waited
            break
    customers: dict[str, Locked] = {}
    of_account, of_record = dict[str, Locked](), dict[str, Locked]()
    for record, customer, account, number, balance, last_at, _, _, version, _ in people:
        item = of_record[record] = customers.setdefault(customer, Locked(customer, [], [], State()))
        item.records.append(record)
        if account is not None:
            of_account[account] = item
            item.accounts.append(Account(account, number, record, balance, int(version), last_at))
    owed = []
    for what, *row in found:
        if what == "lot":
            state = of_account[row[2]].open
            assert state is not None
            state.lots[row[0]] = Lot(*row)
        elif what == "deficit":
            owed.append((row[5], row[1], row[2], row[3]))
        elif what == "held":
            of_record[row[2]].held += row[3]
    for _, transaction, account, amount in sorted(owed):
        state = of_account[account].open
        assert state is not None
        state.deficits[transaction, account] = amount
    alone = _alone(store, sorted(set(records) - set(of_record)), programme, unit)
    return [*customers.values(), *alone], {row[2] for row in found if row[0] == "posted"}


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


PARTS = {
    "legs": """
        insert into ledger_entries (entry_id, account_id, kind, amount, occurred_at, posted_at, posting_key, revision, order_id, original_order_id,
            programme_version, reason, actor, transaction_id, contra, scope, reverses, expires_at, details)
        select entry_id, account_id, kind, amount, occurred_at, %(now)s, posting_key, revision, order_id, original_order_id,
            programme_version, reason, actor, transaction_id, contra, scope, reverses, expires_at, details
        from jsonb_to_recordset(%(legs)s::jsonb) as x (entry_id uuid, account_id text, kind text, amount bigint, occurred_at timestamptz, posting_key text,
            revision integer, order_id text, original_order_id text, programme_version text, reason text, actor text, transaction_id uuid, contra text,
            scope bigint[], reverses text, expires_at timestamptz, details jsonb)
    """,
    "moved": """
        update ledger_accounts t set balance = t.balance + x.amount, version = t.version + 1, last_at = greatest(t.last_at, x.last_at)
        from jsonb_to_recordset(%(moved)s::jsonb) as x (account_id text, amount bigint, last_at timestamptz) where t.account_id = x.account_id
    """,
    "lots": """
        insert into ledger_lots (lot_id, transaction_id, account_id, amount, remaining, occurred_at, opened_at, expires_at, order_id, origin)
        select * from jsonb_to_recordset(%(lots)s::jsonb) as x (lot_id uuid, transaction_id uuid, account_id text, amount bigint, remaining bigint,
            occurred_at timestamptz, opened_at timestamptz, expires_at timestamptz, order_id text, origin uuid)
    """,
    "allocations": """
        insert into ledger_allocations
        select * from jsonb_to_recordset(%(allocations)s::jsonb) as x (transaction_id uuid, lot_id uuid, amount bigint)
    """,
    "deficits": """
        insert into ledger_deficits
        select * from jsonb_to_recordset(%(deficits)s::jsonb) as x (transaction_id uuid, account_id text, amount bigint, occurred_at timestamptz)
    """,
    "drawn": """
        update ledger_lots t set remaining = x.remaining
        from jsonb_to_recordset(%(drawn)s::jsonb) as x (lot_id uuid, remaining bigint) where t.lot_id = x.lot_id
    """,
    "smaller": """
        update ledger_deficits t set amount = x.amount
        from jsonb_to_recordset(%(smaller)s::jsonb) as x (transaction_id uuid, account_id text, amount bigint)
        where t.transaction_id = x.transaction_id and t.account_id = x.account_id
    """,
    "paid": """
        delete from ledger_deficits t using jsonb_to_recordset(%(paid)s::jsonb) as x (transaction_id uuid, account_id text)
        where t.transaction_id = x.transaction_id and t.account_id = x.account_id
    """,
    "told": "insert into changes (type, customer_id, details, at) select 'balance.changed', unnest(%(told)s::uuid[]), '{}', %(now)s",
}


@cache
def _statement(parts: tuple[str, ...]) -> str:
    """One statement that writes these parts: each sees the tables as they were before."""
    return "with " + ", ".join(f"{name} as ({PARTS[name]})" for name in parts) + " select 1"


def write(store: psycopg.Connection, rows: Rows, now: datetime) -> None:
    """Append legs, bring the snapshots of their accounts up to date, write derived rows: one statement for all of it."""
    moved, last = defaultdict[str, int](int), dict[str, datetime]()
    for leg in rows.legs:
        moved[leg.account_id] += leg.amount
        last[leg.account_id] = max(leg.occurred_at, last.get(leg.account_id, leg.occurred_at))
    parts: dict[str, list[dict[str, Any]]] = {
        "legs": [_leg(leg) for leg in rows.legs],
        "moved": [{"account_id": a, "amount": n, "last_at": last[a]} for a, n in sorted(moved.items())],
        "lots": [_lot(lot) for lot in rows.lots],
        "allocations": [{"transaction_id": d, "lot_id": lot, "amount": n} for (d, lot), n in rows.allocations.items()],
        "deficits": [{"transaction_id": d, "account_id": a, "amount": n, "occurred_at": rows.times[d]} for (d, a), n in rows.deficits.items()],
        "drawn": [{"lot_id": lot.lot_id, "remaining": lot.remaining} for lot in rows.drawn],
        "smaller": [{"transaction_id": d, "account_id": a, "amount": n} for (d, a), n in rows.smaller.items()],
        "paid": [{"transaction_id": d, "account_id": a} for d, a in rows.paid],
    }  # fmt: skip
    said = {name: orjson.dumps(part).decode() for name, part in parts.items() if part}
    if said or rows.told:
        told = {"told": rows.told} if rows.told else {}
        store.execute(_statement((*said, *told)), {"now": now, **said, **told})


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
