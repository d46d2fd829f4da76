"""Post to the ledger: append entries once each, under locks, and derive lots, allocations and deficits again."""

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import psycopg

from cdp.loyalty.lots import Entry, State, derive
from cdp.loyalty.programme import Programme

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's URL namespace


@dataclass(frozen=True)
class Posting:
    """A fact to post: `amount` is signed. The same key and revision post once, ever.

    `across` lets a debit draw from every account of the record's customer; otherwise it stays in the record's account.
    """

    key: str
    revision: int
    record_id: str
    kind: str
    amount: int
    occurred_at: datetime
    reason: str
    order_id: str | None = None
    original_order_id: str | None = None
    across: bool = False
    actor: str = "pipeline"


@dataclass(frozen=True)
class _Row:
    entry: Entry
    account_id: str
    posting: Posting


def account_id(record_id: str, programme: Programme) -> str:
    """The account of a record in a programme: one for each, for ever."""
    return f"{programme.programme}:{programme.unit}:{record_id}"


def post(connection: psycopg.Connection, postings: Iterable[Posting], programme: Programme, now: datetime) -> int:
    """Post facts inside the caller's transaction.

    Locks the customers' assignment in share mode, then their accounts in id order. Facts always post, into
    deficit if need be.

    Returns:
        How many entries were written (none for facts that were posted before).
    """
    todo = sorted(postings, key=lambda p: (p.occurred_at, p.amount < 0, p.key))
    if not todo:
        return 0
    siblings = _lock(connection, todo, programme, now)
    entries = _entries(connection, {account for accounts in siblings.values() for account in accounts})
    known = {entry.entry_id for items in entries.values() for entry in items}
    rows: list[_Row] = []
    for posting in todo:
        for row in _split(posting, siblings[posting.record_id], entries, programme):
            if row.entry.entry_id not in known:
                known.add(row.entry.entry_id)
                entries[row.account_id].append(row.entry)
                rows.append(row)
    _insert(connection, rows, programme, now)
    _derive_again(
        connection,
        {account: derive(entries[account]) for account in sorted({row.account_id for row in rows})},
    )
    return len(rows)


def _lock(
    connection: psycopg.Connection, postings: list[Posting], programme: Programme, now: datetime
) -> dict[str, list[str]]:
    """Accounts of each posting's customer, opened where missing and locked: record → account ids."""
    records = sorted({posting.record_id for posting in postings})
    customers = connection.execute(
        "select record_id, customer_id::text from assignment where customer_id in "
        "(select customer_id from assignment where record_id = any(%s)) order by record_id for share",
        [records],
    ).fetchall()
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into ledger_accounts values (%s, %s, %s, %s, %s) on conflict do nothing",
            [(account_id(r, programme), r, programme.programme, programme.unit, now) for r in records],
        )
    members: dict[str, list[str]] = defaultdict(list)
    for record, customer in customers:
        members[customer].append(record)
    customer_of: dict[str, str] = dict(customers)
    wanted = {r: members[customer_of[r]] if r in customer_of else [r] for r in records}
    every = sorted({account_id(m, programme) for group in wanted.values() for m in group})
    existing = {
        row[0]
        for row in connection.execute(
            "select account_id from ledger_accounts where account_id = any(%s) order by account_id for update",
            [every],
        )
    }
    return {r: [a for m in group if (a := account_id(m, programme)) in existing] for r, group in wanted.items()}


def _entries(connection: psycopg.Connection, accounts: set[str]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    query = """
        select e.account_id, e.entry_id::text, e.amount, e.occurred_at,
            case when e.kind <> 'redeem' then coalesce(e.original_order_id, e.order_id) end, l.expires_at
        from ledger_entries e left join ledger_lots l using (entry_id) where e.account_id = any(%s)
    """
    for account, entry_id, amount, occurred_at, order_id, expires_at in connection.execute(query, [sorted(accounts)]):
        found[account].append(Entry(entry_id, amount, occurred_at, order_id, expires_at))
    return found


def _split(
    posting: Posting, accounts: list[str], entries: dict[str, list[Entry]], programme: Programme
) -> Iterable[_Row]:
    """One row for each account that the posting touches; a debit across accounts follows their lots' common order."""
    own = account_id(posting.record_id, programme)
    parts = {own: posting.amount}
    if posting.across and posting.amount < 0:
        parts = _draw(-posting.amount, own, accounts, entries, posting.occurred_at)
    for account, amount in parts.items():
        name = f"{posting.key}#{posting.revision}#{account}"
        entry_id = str(uuid.uuid5(NAMESPACE, name))
        order = None if posting.kind == "redeem" else posting.original_order_id or posting.order_id
        yield _Row(Entry(entry_id, amount, posting.occurred_at, order), account, posting)


def _draw(wanted: int, own: str, accounts: list[str], entries: dict[str, list[Entry]], at: datetime) -> dict[str, int]:
    lots = [
        (lot.order, account, lot.remaining)
        for account in accounts
        for lot in derive(e for e in entries[account] if e.occurred_at <= at).lots
        if lot.remaining
    ]
    parts: dict[str, int] = {}
    for _, account, remaining in sorted(lots):
        taken = min(wanted, remaining)
        if taken:
            parts[account] = parts.get(account, 0) - taken
            wanted -= taken
    if wanted:
        parts[own] = parts.get(own, 0) - wanted
    return parts


def _insert(connection: psycopg.Connection, rows: list[_Row], programme: Programme, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into ledger_entries values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
            [
                (r.entry.entry_id, r.account_id, r.posting.kind, r.entry.amount, r.posting.occurred_at, now, r.posting.key,
                 r.posting.revision, r.posting.order_id, r.posting.original_order_id, programme.version, r.posting.reason, r.posting.actor)
                for r in rows
            ],
        )  # fmt: skip


def _derive_again(connection: psycopg.Connection, states: dict[str, State]) -> None:
    """Write the derived states of accounts over what was derived before."""
    accounts = list(states)
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from ledger_allocations where lot_id in (select entry_id from ledger_lots where account_id = any(%s))",
            [accounts],
        )
        cursor.execute("delete from ledger_deficits where account_id = any(%s)", [accounts])
        cursor.execute("delete from ledger_lots where account_id = any(%s)", [accounts])
        cursor.executemany(
            "insert into ledger_lots values (%s, %s, %s, %s, %s, %s)",
            [
                (
                    lot.entry.entry_id,
                    account,
                    lot.entry.amount,
                    lot.remaining,
                    lot.entry.occurred_at,
                    lot.entry.expires_at,
                )
                for account, state in states.items()
                for lot in state.lots
            ],
        )
        cursor.executemany(
            "insert into ledger_allocations values (%s, %s, %s)",
            [(debit, lot, amount) for state in states.values() for (debit, lot), amount in state.allocations.items()],
        )
        cursor.executemany(
            "insert into ledger_deficits values (%s, %s, %s)",
            [(debit, account, amount) for account, state in states.items() for debit, amount in state.deficits.items()],
        )
