"""Privacy requests in the store: what was asked, until when, how far each system is."""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Row = dict[str, Any]
ONE = "select * from privacy_requests where request_id = %s"


def add(connection: psycopg.Connection, row: Row) -> None:
    """Add a request."""
    connection.execute(
        "insert into privacy_requests (request_id, kind, customer_id, status, jurisdiction, received_at, due_at, actor, details) "
        "values (%(request_id)s, %(kind)s, %(customer_id)s, 'received', %(jurisdiction)s, %(received_at)s, %(due_at)s, %(actor)s, %(details)s)",
        {**row, "details": Jsonb(row["details"])},
    )


def get(connection: psycopg.Connection, request_id: UUID, *, lock: bool = False) -> Row | None:
    """A request, locked until the transaction ends if asked."""
    query = ONE + " for update" if lock else ONE
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, [request_id]).fetchone()


def listed(connection: psycopg.Connection, statuses: list[str] | None = None, kind: str | None = None) -> list[Row]:
    """Requests: open ones by deadline, then the others, newest first."""
    query = """
        select * from privacy_requests
        where (%(statuses)s::text[] is null or status = any(%(statuses)s)) and (%(kind)s::text is null or kind = %(kind)s)
        order by finished_at is not null, case when finished_at is null then due_at end, finished_at desc
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, {"statuses": statuses, "kind": kind}).fetchall()


def of_customer(connection: psycopg.Connection, customer_id: str) -> list[Row]:
    """A customer's requests, oldest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select request_id::text, kind, status, received_at, due_at, finished_at, outcome from privacy_requests "
            "where customer_id = %s order by received_at",
            [customer_id],
        ).fetchall()


def update(connection: psycopg.Connection, request_id: UUID, **values: Any) -> None:
    """Set columns of a request."""
    allowed = ("status", "due_at", "extended_reason", "proof", "verified_at", "verified_by", "finished_at", "outcome")
    for name, value in values.items():
        if name not in allowed:
            raise ValueError(f"{name} is not set here")
        query = sql.SQL("update privacy_requests set {} = %s where request_id = %s").format(sql.Identifier(name))
        connection.execute(query, [value, request_id])


def set_customer(connection: psycopg.Connection, request_id: UUID, customer_id: str) -> None:
    """Note the customer that the one asked for became."""
    connection.execute("update privacy_requests set customer_id = %s where request_id = %s", [customer_id, request_id])


def steps(connection: psycopg.Connection, request_id: UUID) -> list[Row]:
    """How far each system is."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select system, status, at, details from privacy_steps where request_id = %s order by system", [request_id]
        ).fetchall()


def set_step(
    connection: psycopg.Connection,
    request_id: UUID,
    system: str,
    status: str,
    now: datetime,
    details: Row | None = None,
) -> None:
    """Note how far a system is."""
    connection.execute(
        "insert into privacy_steps (request_id, system, status, at, details) values (%s, %s, %s, %s, %s) "
        "on conflict (request_id, system) do update set status = excluded.status, at = excluded.at, details = excluded.details",
        [request_id, system, status, now, Jsonb(details or {})],
    )


def erased_at(connection: psycopg.Connection, customer_id: str) -> datetime | None:
    """When a customer was erased."""
    row = connection.execute("select erased_at from customers where customer_id = %s", [customer_id]).fetchone()
    return row[0] if row else None


def recipients(connection: psycopg.Connection, customer_id: str) -> list[Row]:
    """Who was shown or given this customer's data, for what and when, by the audit log."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select actor, purpose, action, count(*) as times, min(at) as first_at, max(at) as last_at from audit_log "
            "where (customer_id = any(%(ids)s::uuid[]) or (action = 'audience.export' and details -> 'members' ?| %(ids)s::text[])) "
            "and action not like 'refused%%' group by actor, purpose, action order by min(at), actor, action",
            {"ids": _once(connection, customer_id)},
        ).fetchall()


def _once(connection: psycopg.Connection, customer_id: str) -> list[str]:
    """The customer's id with those that were merged into it."""
    query = """
        with recursive chain as (
            select customer_id from customers where customer_id = %s
            union select c.customer_id from chain join customers c on c.merged_into = chain.customer_id
        )
        select customer_id::text from chain
    """
    return [str(row[0]) for row in connection.execute(query, [customer_id])]


def by_month(connection: psycopg.Connection) -> list[tuple[str, str, int]]:
    """(month, measure, count): requests received by kind, finished in time and late, refused, open and overdue."""
    query = """
        select to_char(received_at at time zone 'UTC', 'YYYY-MM'), 'requests: ' || kind, count(*) from privacy_requests group by 1, 2
        union all
        select to_char(finished_at at time zone 'UTC', 'YYYY-MM'), case when status = 'refused' then 'refused'
            when finished_at <= due_at then 'deadline kept' else 'deadline missed' end, count(*)
        from privacy_requests where finished_at is not null group by 1, 2
        order by 1, 2
    """
    return connection.execute(query).fetchall()
