"""The authority for who is who: record → customer, with its history."""

import psycopg


def position(connection: psycopg.Connection) -> int:
    """How far the assignment has moved: grows with every change."""
    found = connection.execute("select coalesce(max(position), 0) from assignment_history").fetchone()
    return int(found[0]) if found else 0


def present(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """(record, customer) of every assigned record."""
    return [(str(r), str(c)) for r, c in connection.execute("select record_id, customer_id::text from assignment")]


def retired(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """(record, retired customer) for every record and retired id that once held it."""
    query = """
        select distinct h.record_id, h.previous_customer_id::text
        from assignment_history h join customers c on c.customer_id = h.previous_customer_id
        where c.retired_at is not null
    """
    return [(str(r), str(c)) for r, c in connection.execute(query)]


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
