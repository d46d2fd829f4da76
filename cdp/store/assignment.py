"""The authority for who is who: record → customer, with its history."""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from cdp.store import changes

SEEN = "core__record_customers#position"  # mark in the lake: the position that the table's run began with


def position(connection: psycopg.Connection) -> int:
    """How far the assignment has moved: grows with every change."""
    found = connection.execute("select coalesce(max(position), 0) from assignment_history").fetchone()
    return int(found[0]) if found else 0


def assigned(connection: psycopg.Connection, records: list[str]) -> set[str]:
    """Which of these records belong to a customer now."""
    return set(customers_of(connection, records))


def customers_of(connection: psycopg.Connection, records: list[str]) -> dict[str, str]:
    """Record → customer, of those of these records that belong to one now."""
    query = "select record_id, customer_id::text from assignment where record_id = any(%s) order by 1"
    return {str(r): str(c) for r, c in connection.execute(query, [records])}


def lock(connection: psycopg.Connection, customers: list[str]) -> None:
    """Lock customers in id order: nobody else changes them before the transaction ends."""
    query = "select 1 from customers where customer_id = any(%s::uuid[]) order by customer_id for no key update"
    connection.execute(query, [customers])


def held_still(connection: psycopg.Connection, records: list[str]) -> dict[str, str]:
    """Record → customer, those customers locked in id order: nobody moves these records before the transaction ends."""
    while True:
        found = customers_of(connection, records)
        lock(connection, sorted(set(found.values())))
        if customers_of(connection, records) == found:  # else one moved while we waited
            return found


def resolve(connection: psycopg.Connection, customer_id: str) -> str | None:
    """The customer an id stands for today: itself, or for a retired id the holder of most of its last records."""
    query = """
        with recursive chain as (
            select customer_id, merged_into, 1 as hops from customers where customer_id = %s
            union all
            select c.customer_id, c.merged_into, chain.hops + 1
            from chain join customers c on c.customer_id = chain.merged_into where chain.hops < 100
        )
        select customer_id::text from chain where merged_into is null
    """
    found = connection.execute(query, [customer_id]).fetchone()
    return str(found[0]) if found else None


@dataclass(frozen=True)
class Move:
    """One record that goes to a customer (None: the record is gone)."""

    record_id: str
    customer_id: str | None


def apply(connection: psycopg.Connection, moves: list[Move], now: datetime, run_id: str, reason: str) -> None:
    """Change the assignment inside the caller's transaction: the one function that publish and API share.

    Locks the customers concerned in id order, keeps the history, retires customers left without records and
    tells the change feed what happened.
    """
    if not moves:
        return
    before = _held_by(connection, [move.record_id for move in moves])
    moves = [move for move in moves if before.get(move.record_id) != move.customer_id]
    concerned = sorted({c for move in moves for c in (move.customer_id, before.get(move.record_id)) if c})
    known = _lock_customers(connection, concerned)
    created = [c for c in concerned if c not in known]
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into customers (customer_id, created_at) values (%s, %s)", [(c, now) for c in created]
        )
        cursor.execute("update customers set retired_at = null, merged_into = null where customer_id = any(%s::uuid[])",
                       [sorted({m.customer_id for m in moves if m.customer_id})])  # fmt: skip
        cursor.executemany(
            "insert into assignment_history (record_id, customer_id, previous_customer_id, at, run_id, reason) "
            "values (%s, %s, %s, %s, %s, %s)",
            [(m.record_id, m.customer_id, before.get(m.record_id), now, run_id, reason) for m in moves],
        )
        cursor.execute(
            "delete from assignment where record_id = any(%s)",
            [[m.record_id for m in moves if not m.customer_id]],
        )
        cursor.executemany(
            "insert into assignment (record_id, customer_id, position) values (%s, %s, "
            "(select max(position) from assignment_history)) on conflict (record_id) do update "
            "set customer_id = excluded.customer_id, position = excluded.position",
            [(m.record_id, m.customer_id) for m in moves if m.customer_id],
        )
    retired = _retire(connection, moves, before, now)
    changes.add(connection, _events(moves, before, set(created), retired), now)


def _held_by(connection: psycopg.Connection, records: list[str]) -> dict[str, str]:
    query = (
        "select record_id, customer_id::text from assignment where record_id = any(%s) order by record_id for update"
    )
    return dict(connection.execute(query, [records]).fetchall())


def _lock_customers(connection: psycopg.Connection, customers: list[str]) -> set[str]:
    query = (
        "select customer_id::text from customers where customer_id = any(%s::uuid[]) order by customer_id for update"
    )
    return {str(row[0]) for row in connection.execute(query, [customers])}


def _retire(
    connection: psycopg.Connection, moves: list[Move], before: dict[str, str], now: datetime
) -> dict[str, str | None]:
    """Retire those left without records; each then stands for the holder of most of those that it held last.

    Not of all it ever held: most of them may have been split off long ago, as somebody else's.
    """
    query = """
        with moved as (select * from unnest(%(givers)s::uuid[], %(heirs)s::uuid[]) as moved (customer_id, heir)),
        empty as (
            select c.customer_id from customers c
            where c.customer_id in (select customer_id from moved) and c.retired_at is null
              and not exists (select 1 from assignment a where a.customer_id = c.customer_id)
        ), first as (
            select distinct on (customer_id) customer_id, heir from moved
            where heir is not null group by customer_id, heir order by customer_id, count(*) desc, heir
        )
        update customers c set retired_at = %(now)s, merged_into = (select heir from first f where f.customer_id = c.customer_id)
        from empty where c.customer_id = empty.customer_id
        returning c.customer_id::text, c.merged_into::text
    """
    given = [(before[move.record_id], move.customer_id) for move in moves if move.record_id in before]
    parameters = {"givers": [giver for giver, _ in given], "heirs": [heir for _, heir in given], "now": now}
    return {str(c): heir for c, heir in connection.execute(query, parameters)}


def _events(
    moves: list[Move], before: dict[str, str], created: set[str], retired: dict[str, str | None]
) -> list[tuple[str, str | None, dict[str, object]]]:
    """What the feed says: created, merged (the retired id and its heir), split (a new id out of a living one), moved, updated."""
    events: list[tuple[str, str | None, dict[str, object]]] = []
    givers: dict[str, set[str]] = {}
    for move in moves:
        giver = before.get(move.record_id)
        if giver and move.customer_id:
            givers.setdefault(move.customer_id, set()).add(giver)
    for customer in sorted(created):
        living = sorted(g for g in givers.get(customer, set()) if g not in retired)
        kind = "customer.split" if living else "customer.created"
        events.append((kind, customer, {"from": living} if living else {}))
    for customer, heir in sorted(retired.items()):
        events.append(("customer.merged", customer, {"merged_into": heir}))
    for customer, sources in sorted(givers.items()):
        living = sorted(g for g in sources if g not in retired)
        if customer not in created and living:
            events.append(("customer.moved", customer, {"from": living}))
    # whoever gained or lost a record is another customer now, also where the event is another's
    others = set(givers).union(*givers.values()) - set(retired) - {customer for _, customer, _ in events}
    return [*events, *(("customer.updated", customer, {}) for customer in sorted(others))]


def records(store: psycopg.Connection, customers: list[str]) -> list[str]:
    """All records of these customers."""
    query = "select record_id from assignment where customer_id = any(%s::uuid[]) order by record_id"
    return [str(row[0]) for row in store.execute(query, [customers])]


def customer(store: psycopg.Connection, records: list[str]) -> str | None:
    """The customer that the first of these records belongs to."""
    query = "select customer_id::text from assignment where record_id = any(%s) order by record_id limit 1"
    rows = store.execute(query, [records]).fetchall()
    return str(rows[0][0]) if rows else None
