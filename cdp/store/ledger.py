"""The ledger's tables: accounts locked, facts and open lots read, legs and derived rows written."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from cdp.loyalty.lots import Fact, Lot, State

CONTRA = {
    "earn": "issued", "opening": "adjusted", "clawback": "issued", "redeem": "redeemed", "restore": "redeemed", "expire": "expired",
    "adjust": "adjusted",
}  # fmt: skip
LOT = "lot_id::text, transaction_id::text, account_id, amount, remaining, occurred_at, opened_at, expires_at, order_id, origin::text"


ACCOUNT = "l.account_id, l.account_no, l.record_id, l.balance, l.version, l.last_at, l.last_debit_at"


@dataclass(frozen=True)
class Account:
    """An account as it was when it was locked."""

    account_id: str
    number: int
    record_id: str
    balance: int
    version: int
    last_at: datetime | None
    last_debit_at: datetime | None


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
        f"on conflict (account_id) do update set account_id = excluded.account_id returning {ACCOUNT}",
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
        rows = store.execute(
            f"select customer_id::text from customers where customer_id in ({held}) order by customer_id for no key update",
            [records],
        ).fetchall()
        ours = {str(row[0]) for row in rows}
        found = store.execute(
            f"select a.record_id, a.customer_id::text, {ACCOUNT} from assignment a left join ledger_accounts l on l.record_id = a.record_id "
            f"and l.programme = %s and l.unit = %s where a.customer_id in ({held}) order by a.record_id",
            [programme, unit, records],
        ).fetchall()
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


def of_records(store: psycopg.Connection, records: list[str], programme: str, unit: str) -> list[Account]:
    """The accounts of these records, to read."""
    rows = store.execute(
        f"select {ACCOUNT} from ledger_accounts l where record_id = any(%s) and programme = %s and unit = %s order by account_id",
        [records, programme, unit],
    )
    return [Account(*row) for row in rows]


def past_balance(store: psycopg.Connection, accounts: list[str], at: datetime) -> int:
    """What the books say of a moment: legs up to then, less what had ended by then and is not written off yet."""
    query = """
        select (select coalesce(sum(amount), 0) from ledger_entries where account_id = any(%(accounts)s) and occurred_at <= %(at)s)
            - (select coalesce(sum(remaining), 0) from ledger_lots where account_id = any(%(accounts)s)
                and greatest(expires_at, opened_at) <= %(at)s and expires_at is not null)
    """
    return int(store.execute(query, {"accounts": accounts, "at": at}).fetchall()[0][0])


def entries(
    store: psycopg.Connection, accounts: list[str], before: tuple[datetime, str] | None, limit: int
) -> list[dict[str, Any]]:
    """Legs of these accounts, newest first, those before a cursor's (time, id)."""
    at, last = before if before else (None, None)
    names = ("entry_id", "transaction_id", "record_id", "kind", "amount", "occurred_at", "posted_at", "reason", "actor", "order_id", "programme_version")  # fmt: skip
    rows = store.execute(
        "select entry_id::text, transaction_id::text, record_id, kind, amount, occurred_at, posted_at, reason, actor, order_id, programme_version "
        "from ledger_entries join ledger_accounts using (account_id) where account_id = any(%(accounts)s) "
        "and (%(at)s::timestamptz is null or (occurred_at, entry_id) < (%(at)s::timestamptz, %(last)s::uuid)) "
        "order by occurred_at desc, entry_id desc limit %(limit)s",
        {"accounts": accounts, "at": at, "last": last, "limit": limit},
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def due(store: psycopg.Connection, programme: str, unit: str, now: datetime) -> list[str]:
    """Records whose accounts hold units that have ended."""
    rows = store.execute(
        "select distinct a.record_id from ledger_lots l join ledger_accounts a using (account_id) where l.remaining > 0 "
        "and l.expires_at is not null and greatest(l.expires_at, l.opened_at) <= %s and programme = %s and unit = %s order by 1",
        [now, programme, unit],
    )
    return [str(row[0]) for row in rows]


def unbalanced(store: psycopg.Connection, programme: str, unit: str) -> list[str]:
    """Records whose account breaks Σ open lots − Σ deficits = balance = Σ entries."""
    query = """
        with entries as (select account_id, sum(amount) as total from ledger_entries group by account_id),
        lots as (select account_id, sum(remaining) as total from ledger_lots group by account_id),
        deficits as (select account_id, sum(amount) as total from ledger_deficits group by account_id)
        select a.record_id from ledger_accounts a left join entries e using (account_id) left join lots l using (account_id)
        left join deficits d using (account_id)
        where a.programme = %s and a.unit = %s and (a.balance <> coalesce(e.total, 0)
            or a.balance <> coalesce(l.total, 0) - coalesce(d.total, 0))
        order by 1
    """
    return [str(row[0]) for row in store.execute(query, [programme, unit])]


def recount(store: psycopg.Connection, records: list[str], programme: str, unit: str) -> None:
    """Make the snapshots of these records' accounts again from their entries."""
    store.execute(
        "update ledger_accounts a set balance = (select coalesce(sum(amount), 0) from ledger_entries e where e.account_id = a.account_id), "
        "version = version + 1 where record_id = any(%s) and programme = %s and unit = %s",
        [records, programme, unit],
    )


def known(store: psycopg.Connection, transactions: list[str]) -> set[str]:
    """Which of these transactions have been posted."""
    rows = store.execute(
        "select distinct transaction_id::text from ledger_entries where transaction_id = any(%s::uuid[])",
        [transactions],
    )
    return {str(row[0]) for row in rows}


def known_keys(store: psycopg.Connection, keys: list[str]) -> set[str]:
    """Which of these posting keys have been posted."""
    rows = store.execute("select distinct posting_key from ledger_entries where posting_key = any(%s)", [keys])
    return {str(row[0]) for row in rows}


def transaction(store: psycopg.Connection, transaction_id: str) -> dict[str, Any] | None:
    """A transaction: its own record, posting key, amount, contra, order, and the legs that stand."""
    rows = store.execute(
        "select a.record_id, e.account_id, e.amount, e.posting_key, e.contra, e.order_id, e.scope, a.account_no, e.occurred_at from ledger_entries e "
        "join ledger_accounts a using (account_id) where e.transaction_id = %s order by e.posted_at, e.entry_id",
        [transaction_id],
    ).fetchall()
    if not rows:
        return None
    moved: dict[str, int] = defaultdict(int)
    for row in rows:
        moved[row[1]] += row[2]
    own = next((row[0] for row in rows if row[6] and row[6][0] == row[7]), None) or _owner(store, rows[0])
    return {
        "record_id": own, "amount": sum(moved.values()), "posting_key": rows[0][3], "contra": rows[0][4], "order_id": rows[0][5],
        "occurred_at": rows[0][8], "legs": {account: amount for account, amount in moved.items() if amount},
    }  # fmt: skip


def _owner(store: psycopg.Connection, row: tuple[Any, ...]) -> str:
    """The record whose fact it was: no leg may be left in its own account."""
    number = row[6][0] if row[6] else row[7]
    return str(store.execute("select record_id from ledger_accounts where account_no = %s", [number]).fetchall()[0][0])


def reversed_so_far(store: psycopg.Connection, key: str) -> int:
    """What later transactions gave or took back of a posting key, signed."""
    query = "select coalesce(sum(amount), 0)::bigint from ledger_entries where reverses = %s"
    return int(store.execute(query, [key]).fetchall()[0][0])


def touch(store: psycopg.Connection, account_id: str) -> None:
    """What may be spent has changed, though no entry was posted."""
    store.execute("update ledger_accounts set version = version + 1 where account_id = %s", [account_id])


def legs(store: psycopg.Connection, accounts: list[str]) -> list[dict[str, Any]]:
    """Every leg of these accounts, transaction by transaction."""
    names = (
        "transaction_id", "account_id", "kind", "amount", "occurred_at", "posting_key", "revision", "reason", "actor", "programme_version",
        "order_id", "original_order_id", "scope", "reverses", "expires_at", "contra",
    )  # fmt: skip
    query = (
        f"select transaction_id::text, {', '.join(names[1:])} from ledger_entries "
        "where account_id = any(%s) order by transaction_id, kind = 'reversal', posted_at, entry_id"
    )
    return [dict(zip(names, row, strict=True)) for row in store.execute(query, [accounts])]


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
    union all
    select 'posted', null, %(transaction)s::text, null, null, null, null, null, null, null, null
    where exists (select 1 from ledger_entries where transaction_id = %(transaction)s::text::uuid)
"""


def open_state(
    store: psycopg.Connection, accounts: list[str], asked: dict[str, Any] | None = None
) -> tuple[State, int, bool]:
    """Open lots and deficits of these accounts: all that a fact later than the others needs.

    Args:
        store: Where.
        accounts: Which.
        asked: Records, programme, unit, now and a transaction: what is set aside, and whether it was posted, is read too.

    Returns:
        The state, units set aside, whether the transaction was posted.
    """
    state, held, posted, owed = State(), 0, False, list[tuple[datetime, str, str, int]]()
    for what, *row in store.execute(STATE + ASKED if asked else STATE, {"accounts": accounts, **(asked or {})}):
        if what == "lot":
            state.lots[row[0]] = Lot(*row)
        elif what == "deficit":
            owed.append((row[5], row[1], row[2], row[3]))
        elif what == "held":
            held = row[3]
        else:
            posted = True
    state.deficits = {(transaction, account): amount for _, transaction, account, amount in sorted(owed)}
    return state, held, posted


def insert(store: psycopg.Connection, rows: list[Leg], now: datetime) -> None:
    """Append legs, and bring the snapshots of their accounts up to date."""
    if not rows:
        return
    with store.cursor() as cursor:
        _many(
            cursor,
            "insert into ledger_entries (entry_id, account_id, kind, amount, occurred_at, posted_at, posting_key, revision, order_id, "
            "original_order_id, programme_version, reason, actor, transaction_id, contra, scope, reverses, expires_at) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    leg.entry_id, leg.account_id, leg.kind, leg.amount, leg.occurred_at, now, leg.key, leg.revision, leg.order_id,
                    leg.original_order_id, leg.version, leg.reason, leg.actor, leg.transaction_id, leg.contra or CONTRA[leg.kind],
                    list(leg.scope) if leg.scope is not None else None, leg.reverses, leg.expires_at,
                )
                for leg in rows
            ],
        )  # fmt: skip
        moved: dict[str, int] = defaultdict(int)
        last: dict[str, datetime] = {}
        debit: dict[str, datetime] = {}
        for leg in rows:
            moved[leg.account_id] += leg.amount
            last[leg.account_id] = max(leg.occurred_at, last.get(leg.account_id, leg.occurred_at))
            if leg.amount < 0:
                debit[leg.account_id] = max(leg.occurred_at, debit.get(leg.account_id, leg.occurred_at))
        _many(
            cursor,
            "update ledger_accounts set balance = balance + %s, version = version + 1, last_at = greatest(last_at, %s), "
            "last_debit_at = greatest(last_debit_at, %s) where account_id = %s",
            [(amount, last[account], debit.get(account), account) for account, amount in sorted(moved.items())],
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


def facts(rows: list[dict[str, Any]], accounts: dict[int, str]) -> list[Fact]:
    """The facts behind legs: expiries follow from them; a fact whose scope reaches further keeps its legs.

    Args:
        rows: All legs of the accounts.
        accounts: Number → id of the accounts that are looked at together.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["contra"] != "expired":
            found[row["transaction_id"]].append(row)
    return [_fact(name, items, accounts) for name, items in found.items()]


def _fact(name: str, rows: list[dict[str, Any]], accounts: dict[int, str]) -> Fact:
    first, moved = rows[0], defaultdict[str, int](int)
    for row in rows:
        moved[row["account_id"]] += row["amount"]
    scope = first["scope"]
    whole = scope is not None and all(number in accounts for number in scope)
    own = accounts[scope[0]] if whole else first["account_id"]
    order = None if first["kind"] == "redeem" else first["original_order_id"] or first["order_id"]
    return Fact(
        name, first["posting_key"], own, sum(moved.values()), first["occurred_at"], order,
        tuple(accounts[number] for number in scope) if whole else (), first["expires_at"], first["reverses"], None if whole else moved,
    )  # fmt: skip
