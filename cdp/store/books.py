"""Reading the ledger: accounts, entries, transactions, what does not add up, and the facts behind legs."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import psycopg

from cdp.loyalty.lots import Fact
from cdp.store.ledger import ACCOUNT, Account


def of_records(store: psycopg.Connection, records: list[str], programme: str, unit: str) -> list[Account]:
    """The accounts of these records, to read."""
    rows = store.execute(
        f"select {ACCOUNT} from ledger_accounts l where record_id = any(%s) and programme = %s and unit = %s order by account_id",
        [records, programme, unit],
    )
    return [Account(*row) for row in rows]


def accounts_of(store: psycopg.Connection, customer: str) -> list[str]:
    """All accounts of a customer, in every unit."""
    query = "select account_id from ledger_accounts join assignment using (record_id) where customer_id = %s order by 1"
    return [str(row[0]) for row in store.execute(query, [customer])]


def past_balance(store: psycopg.Connection, accounts: list[str], at: datetime) -> int:
    """What the books say of a moment: legs up to then, less what had ended by then and is not written off yet."""
    query = """
        select (select coalesce(sum(amount), 0) from ledger_entries where account_id = any(%(accounts)s) and occurred_at <= %(at)s)
            - (select coalesce(sum(remaining), 0) from ledger_lots where account_id = any(%(accounts)s) and remaining > 0
                and greatest(expires_at, opened_at) <= %(at)s and expires_at is not null)
    """
    return int(store.execute(query, {"accounts": accounts, "at": at}).fetchall()[0][0])


def entries(
    store: psycopg.Connection, accounts: list[str], before: tuple[datetime, str] | None, limit: int
) -> list[dict[str, Any]]:
    """Legs of these accounts, newest first, those before a cursor's (time, id)."""
    at, last = before if before else (None, None)
    names = ("entry_id", "transaction_id", "record_id", "unit", "kind", "amount", "occurred_at", "posted_at", "reason", "actor", "order_id", "programme_version")  # fmt: skip
    rows = store.execute(
        "select entry_id::text, transaction_id::text, record_id, unit, kind, amount, occurred_at, posted_at, reason, actor, order_id, programme_version "
        "from ledger_entries join ledger_accounts using (account_id) where account_id = any(%(accounts)s) "
        "and (%(at)s::timestamptz is null or (occurred_at, entry_id) < (%(at)s::timestamptz, %(last)s::uuid)) "
        "order by occurred_at desc, entry_id desc limit %(limit)s",
        {"accounts": accounts, "at": at, "last": last, "limit": limit},
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def on_both(store: psycopg.Connection, left: list[str], right: list[str]) -> list[tuple[str, str, datetime, int, int]]:
    """Transactions with legs in accounts of both sides: (id, kind, when, moved left, moved right), the newest first."""
    query = """
        select transaction_id::text, min(kind) filter (where kind <> 'reversal'), min(occurred_at),
            (sum(amount) filter (where account_id = any(%(left)s)))::bigint, (sum(amount) filter (where account_id = any(%(right)s)))::bigint
        from ledger_entries where account_id = any(%(left)s) or account_id = any(%(right)s) group by transaction_id
        having coalesce(sum(amount) filter (where account_id = any(%(left)s)), 0) <> 0
            and coalesce(sum(amount) filter (where account_id = any(%(right)s)), 0) <> 0
        order by 3 desc, 1
    """
    return list(store.execute(query, {"left": left, "right": right}).fetchall())


def due(store: psycopg.Connection, programme: str, unit: str, now: datetime) -> list[str]:
    """Records whose accounts hold units that have ended."""
    rows = store.execute(
        "select distinct a.record_id from ledger_lots l join ledger_accounts a using (account_id) where l.remaining > 0 "
        "and l.expires_at is not null and greatest(l.expires_at, l.opened_at) <= %s and programme = %s and unit = %s order by 1",
        [now, programme, unit],
    )
    return [str(row[0]) for row in rows]


def moved_since(store: psycopg.Connection, programme: str, unit: str) -> list[str]:
    """Records with open units whose customer gained or lost a record after their account's last entry."""
    query = """
        select a.record_id from ledger_accounts a join assignment s using (record_id)
        where programme = %s and unit = %s
            and exists (select 1 from ledger_lots l where l.account_id = a.account_id and remaining > 0)
            and (select max(h.at) from assignment_history h
                    where h.record_id in (select g.record_id from assignment_history g where g.customer_id = s.customer_id))
                > (select max(posted_at) from ledger_entries e where e.account_id = a.account_id)
        order by 1
    """
    return [str(row[0]) for row in store.execute(query, [programme, unit])]


def unbalanced(store: psycopg.Connection, programme: str, unit: str) -> list[str]:
    """Records whose account breaks Σ open lots − Σ deficits = balance = Σ entries."""
    query = """
        with every as (  -- one pass over each table: joining sums goes wrong where the planner knows no sizes
            select account_id, -balance as entries, -balance as lots from ledger_accounts
            union all select account_id, amount, 0 from ledger_entries
            union all select account_id, 0, remaining from ledger_lots
            union all select account_id, 0, -amount from ledger_deficits
        ), wrong as materialized (
            select account_id from every group by account_id having sum(entries) <> 0 or sum(lots) <> 0
        )
        select record_id from ledger_accounts join wrong using (account_id) where programme = %s and unit = %s order by 1
    """
    return [str(row[0]) for row in store.execute(query, [programme, unit])]


def recount(store: psycopg.Connection, records: list[str], programme: str, unit: str) -> None:
    """Make the snapshots of these records' accounts again from their entries."""
    store.execute(
        "update ledger_accounts a set balance = (select coalesce(sum(amount), 0) from ledger_entries e where e.account_id = a.account_id), "
        "version = version + 1 where record_id = any(%s) and programme = %s and unit = %s",
        [records, programme, unit],
    )


def known_keys(store: psycopg.Connection, keys: list[str]) -> set[str]:
    """Which of these posting keys have been posted."""
    rows = store.execute("select distinct posting_key from ledger_entries where posting_key = any(%s)", [keys])
    return {str(row[0]) for row in rows}


def posted_under(store: psycopg.Connection, key: str) -> tuple[int, int]:
    """What was posted under a key in all, and the next revision."""
    query = "select coalesce(sum(amount), 0)::bigint, coalesce(max(revision) + 1, 0) from ledger_entries where posting_key = %s"
    row = store.execute(query, [key]).fetchall()[0]
    return int(row[0]), int(row[1])


def lately(
    store: psycopg.Connection, accounts: list[str], kind: str, now: datetime, within: timedelta
) -> tuple[int, int]:
    """How often channels moved these accounts lately, and by how much in all."""
    query = (
        # what is spread anew keeps the time it first posted
        "select count(*), coalesce(sum(amount), 0)::bigint from (select sum(amount) as amount from ledger_entries where account_id = any(%s) "
        "and kind in (%s, 'reversal') and actor <> 'pipeline' group by transaction_id having min(posted_at) > %s and min(posted_at) <= %s "
        "and sum(amount) <> 0) as lately"
    )
    row = store.execute(query, [accounts, kind, now - within, now]).fetchall()[0]
    return int(row[0]), int(row[1])


def owed_by(store: psycopg.Connection, transaction_id: str) -> tuple[int, list[str]]:
    """What a debit took beyond the lots, as it stands now, and the debits before it that drew from the same accounts."""
    owed = store.execute("select coalesce(sum(amount), 0)::bigint from ledger_deficits where transaction_id = %s", [transaction_id]).fetchall()[0][0]  # fmt: skip
    if not owed:
        return 0, []
    rows = store.execute(
        "with mine as (select scope, min(occurred_at) as at from ledger_entries where transaction_id = %(id)s group by scope) "
        "select e.transaction_id::text from ledger_entries e join ledger_accounts a using (account_id) "
        "where a.account_no in (select unnest(scope) from mine) and e.amount < 0 and e.kind in ('redeem', 'adjust', 'clawback') "
        "and e.transaction_id <> %(id)s and (e.occurred_at, e.transaction_id) < (select at, %(id)s::uuid from mine limit 1) "
        "group by 1 having sum(e.amount) < 0 order by max(e.occurred_at) desc limit 5",
        {"id": transaction_id},
    )
    return int(owed), [str(row[0]) for row in rows]


def transaction(store: psycopg.Connection, transaction_id: str) -> dict[str, Any] | None:
    """A transaction: its own record, posting key, amount, contra, order, and the legs that stand."""
    rows = store.execute(
        "select a.record_id, e.account_id, e.amount, e.posting_key, e.contra, e.order_id, e.scope, a.account_no, e.occurred_at, e.kind, e.actor, e.reverses, a.unit from ledger_entries e "
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
        "occurred_at": rows[0][8], "kind": rows[0][9], "actor": rows[0][10], "is_reversal": rows[0][11] is not None, "unit": rows[0][12], "legs": {account: amount for account, amount in moved.items() if amount},
    }  # fmt: skip


def _owner(store: psycopg.Connection, row: tuple[Any, ...]) -> str:
    """The record whose fact it was: no leg may be left in its own account."""
    number = row[6][0] if row[6] else row[7]
    return str(store.execute("select record_id from ledger_accounts where account_no = %s", [number]).fetchall()[0][0])


def awaited(store: psycopg.Connection, keys: list[str]) -> set[str]:
    """Which of these posting keys were given or taken back before they came."""
    rows = store.execute("select distinct reverses from ledger_entries where reverses = any(%s)", [keys])
    return {str(row[0]) for row in rows}


def reversed_so_far(store: psycopg.Connection, key: str) -> int:
    """What later transactions gave or took back of a posting key, signed."""
    query = "select coalesce(sum(amount), 0)::bigint from ledger_entries where reverses = %s"
    return int(store.execute(query, [key]).fetchall()[0][0])


def legs(store: psycopg.Connection, accounts: list[str]) -> list[dict[str, Any]]:
    """Every leg of these accounts, transaction by transaction."""
    names = (
        "transaction_id", "account_id", "kind", "amount", "occurred_at", "posting_key", "revision", "reason", "actor", "programme_version",
        "order_id", "original_order_id", "scope", "reverses", "expires_at", "contra", "details",
    )  # fmt: skip
    query = (
        f"select transaction_id::text, {', '.join(names[1:])} from ledger_entries "
        "where account_id = any(%s) order by transaction_id, kind = 'reversal', posted_at, entry_id"
    )
    return [dict(zip(names, row, strict=True)) for row in store.execute(query, [accounts])]


def legs_by_customer(
    store: psycopg.Connection, customers: list[str], programme: str, unit: str
) -> dict[str, list[dict[str, Any]]]:
    """Every leg of the accounts of each customer in a unit, for many customers in two queries."""
    query = (
        "select l.account_id, a.customer_id::text from ledger_accounts l join assignment a using (record_id) "
        "where a.customer_id = any(%s::uuid[]) and l.programme = %s and l.unit = %s"
    )
    owner: dict[str, str] = dict(store.execute(query, [customers, programme, unit]).fetchall())
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in legs(store, list(owner)) if owner else ():
        found[owner[row["account_id"]]].append(row)
    return found


def moved(store: psycopg.Connection, records: list[str]) -> dict[str, tuple[datetime, str]]:
    """When each of these records last went from one customer to another, or was left by one that had been with it; and whose it was."""
    query = """
        with held as (select record_id, customer_id from assignment where record_id = any(%s)),
        moves as (
            select record_id, at, customer_id, lag(customer_id) over (partition by record_id order by position) as before
            from assignment_history
            where record_id in (select record_id from assignment_history where customer_id in (select customer_id from held))
        )
        select distinct on (h.record_id) h.record_id, m.at, m.before::text from held h
        join moves m on m.before <> m.customer_id and (m.record_id = h.record_id or m.before = h.customer_id)
        order by h.record_id, m.at desc, m.record_id
    """
    return {record: (at, before) for record, at, before in store.execute(query, [records]).fetchall()}


def issued(store: psycopg.Connection, programme: str, records: list[str]) -> list[dict[str, Any]]:
    """Legs of what these records were given or had taken back by orders, events and referral, in every unit."""
    names = (
        "record_id",
        "unit",
        "posting_key",
        "revision",
        "kind",
        "contra",
        "amount",
        "occurred_at",
        "order_id",
        "original_order_id",
        "details",
    )
    rows = store.execute(
        f"select {', '.join(names)} from ledger_entries join ledger_accounts using (account_id) where programme = %s and record_id = any(%s) "
        "and contra = 'issued' order by occurred_at, entry_id",
        [programme, records],
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def issued_so_far(store: psycopg.Connection, programme: str) -> tuple[Any, ...]:
    """Changes when something is issued."""
    query = "select count(*), max(posted_at)::text from ledger_entries join ledger_accounts using (account_id) where programme = %s and contra = 'issued'"
    return tuple(store.execute(query, [programme]).fetchall()[0])


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
        frozenset({first["kind"], *(first["reason"].split("+") if first["kind"] == "earn" else ())}),
    )  # fmt: skip
