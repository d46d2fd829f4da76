"""The ledger's tables: accounts locked, facts and open lots read, legs and derived rows written."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

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


def _many(cursor: psycopg.Cursor[Any], query: str, rows: Sequence[Sequence[Any]]) -> None:
    """One statement for all rows; none for no row."""
    if len(rows) == 1:
        cursor.execute(query, rows[0])
    elif rows:
        cursor.executemany(query, rows)


def open_account(store: psycopg.Connection, account: tuple[str, str, str, str], now: datetime) -> Account:
    """Make an account (id, record, programme, unit) that is not there yet."""
    rows = store.execute(
        "insert into ledger_accounts as l (account_id, record_id, programme, unit, opened_at) values (%s, %s, %s, %s, %s) "
        f"on conflict (account_id) do update set version = l.version returning {ACCOUNT}",
        [*account, now],
    ).fetchall()
    return Account(*rows[0])


def open_accounts(store: psycopg.Connection, accounts: list[tuple[str, str, str, str]], now: datetime) -> list[Account]:
    """The same for many."""
    if len(accounts) == 1:
        return [open_account(store, accounts[0], now)]
    with store.cursor() as cursor:
        _many(
            cursor,
            "insert into ledger_accounts (account_id, record_id, programme, unit, opened_at) values (%s, %s, %s, %s, %s) on conflict do nothing",
            [(*account, now) for account in accounts],
        )
    rows = store.execute(
        f"select {ACCOUNT} from ledger_accounts l where account_id = any(%s)", [[a[0] for a in accounts]]
    )
    return [Account(*row) for row in rows]


@dataclass(frozen=True)
class Locked:
    """A customer whose accounts are ours until the transaction ends; None: a record that is nobody's."""

    customer_id: str | None
    records: list[str]
    accounts: list[Account]


def lock(store: psycopg.Connection, records: list[str], programme: str, unit: str) -> list[Locked]:
    """The customers of these records, locked in id order: one row for each stands for its assignment and all its accounts.

    Whoever changes an assignment locks the same row, so nobody moves a record meanwhile.
    """
    held = "select distinct customer_id from assignment where record_id = any(%s)"
    while True:
        with store.pipeline():  # one round trip; the second statement sees what was committed while the first waited
            waited = store.execute(
                f"select customer_id::text from customers where customer_id in ({held}) order by customer_id for no key update",
                [records],
            )
            read = store.execute(
                f"select a.record_id, a.customer_id::text, {ACCOUNT} from assignment a left join ledger_accounts l on l.record_id = a.record_id "
                f"and l.programme = %s and l.unit = %s where a.customer_id in ({held}) order by a.record_id",
                [programme, unit, records],
            )
            ours, found = {str(row[0]) for row in waited.fetchall()}, read.fetchall()
        if all(row[1] in ours for row in found):  # else a record moved while we waited
            break
    customers: dict[str, Locked] = {}
    for record, customer, *account in found:
        item = customers.setdefault(customer, Locked(customer, [], []))
        item.records.append(record)
        if account[0] is not None:
            item.accounts.append(Account(*account))
    nobodys = sorted(set(records) - {row[0] for row in found})
    return [*customers.values(), *_alone(store, nobodys, programme, unit)]


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
POSTED = """
    union all
    select distinct 'posted', null, transaction_id::text, null, null::bigint, null::bigint, null::timestamptz, null::timestamptz, null::timestamptz, null, null
    from ledger_entries where transaction_id = any(%(transactions)s::uuid[])
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
    query = STATE + (POSTED if transactions else "") + (ASKED if holder else "")
    for what, *row in store.execute(query, {"accounts": accounts, "transactions": transactions, **(holder or {})}):
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


def insert(store: psycopg.Connection, rows: list[Leg], now: datetime) -> None:
    """Append legs, and bring the snapshots of their accounts up to date."""
    if not rows:
        return
    with store.cursor() as cursor:
        _many(
            cursor,
            "insert into ledger_entries (entry_id, account_id, kind, amount, occurred_at, posted_at, posting_key, revision, order_id, "
            "original_order_id, programme_version, reason, actor, transaction_id, contra, scope, reverses, expires_at, details) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    leg.entry_id, leg.account_id, leg.kind, leg.amount, leg.occurred_at, now, leg.key, leg.revision, leg.order_id,
                    leg.original_order_id, leg.version, leg.reason, leg.actor, leg.transaction_id, leg.contra or CONTRA[leg.kind],
                    list(leg.scope) if leg.scope is not None else None, leg.reverses, leg.expires_at,
                    Jsonb(leg.details) if leg.details else None,
                )
                for leg in rows
            ],
        )  # fmt: skip
        moved: dict[str, int] = defaultdict(int)
        last: dict[str, datetime] = {}
        for leg in rows:
            moved[leg.account_id] += leg.amount
            last[leg.account_id] = max(leg.occurred_at, last.get(leg.account_id, leg.occurred_at))
        _many(
            cursor,
            "update ledger_accounts set balance = balance + %s, version = version + 1, last_at = greatest(last_at, %s) where account_id = %s",
            [(amount, last[account], account) for account, amount in sorted(moved.items())],
        )


def rewrite(store: psycopg.Connection, accounts: list[str], state: State, times: dict[str, datetime]) -> None:
    """Write the derived rows of accounts over what was derived before."""
    with store.cursor() as cursor:
        cursor.execute(
            "delete from ledger_allocations where lot_id in (select lot_id from ledger_lots where account_id = any(%s))",
            [accounts],
        )
        cursor.execute("delete from ledger_deficits where account_id = any(%s)", [accounts])
        cursor.execute("delete from ledger_lots where account_id = any(%s)", [accounts])
    add(store, list(state.lots.values()), state.allocations, state.deficits, times)


def add(
    store: psycopg.Connection, lots: list[Lot], allocations: dict[tuple[str, str], int], deficits: dict[tuple[str, str], int],
    times: dict[str, datetime],
) -> None:  # fmt: skip
    """Insert derived rows; `times` says when each debit with a deficit happened."""
    with store.cursor() as cursor:
        _many(
            cursor,
            "insert into ledger_lots (lot_id, transaction_id, account_id, amount, remaining, occurred_at, opened_at, expires_at, order_id, origin) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (t.lot_id, t.fact_id, t.account, t.amount, t.remaining, t.at, t.opened_at, t.expires_at, t.order_id, t.origin)
                for t in lots
            ],
        )  # fmt: skip
        _many(
            cursor,
            "insert into ledger_allocations values (%s, %s, %s)",
            [(d, lot, n) for (d, lot), n in allocations.items()],
        )
        _many(
            cursor,
            "insert into ledger_deficits values (%s, %s, %s, %s)",
            [(debit, account, owed, times[debit]) for (debit, account), owed in deficits.items()],
        )


def change(
    store: psycopg.Connection, drawn: list[Lot], owed: dict[tuple[str, str], int], paid: list[tuple[str, str]]
) -> None:
    """Lots that were drawn from, deficits that are smaller now, deficits that are gone."""
    with store.cursor() as cursor:
        _many(
            cursor,
            "update ledger_lots set remaining = %s where lot_id = %s",
            [(lot.remaining, lot.lot_id) for lot in drawn],
        )
        _many(
            cursor,
            "update ledger_deficits set amount = %s where transaction_id = %s and account_id = %s",
            [(amount, debit, account) for (debit, account), amount in owed.items()],
        )
        _many(cursor, "delete from ledger_deficits where transaction_id = %s and account_id = %s", paid)
