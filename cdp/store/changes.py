"""The change feed: rows are written with their change, positions are given after commit by one sequencer."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

SEQUENCER_LOCK = 7_201_003
Type = Literal[
    "customer.created", "customer.updated", "customer.merged", "customer.split", "customer.moved", "customer.erased", "consent.changed", "balance.changed",
    "plan.changed", "tier.changed", "audience.entered", "audience.left",
]  # fmt: skip


def add(connection: psycopg.Connection, changes: Sequence[tuple[str, str | None, Mapping[str, Any]]], at: Any) -> None:
    """Write (type, customer id, details) rows inside the transaction that makes the change."""
    query = "insert into changes (type, customer_id, details, at) values (%s, %s, %s, %s)"
    rows = [(kind, customer, Jsonb(dict(details)), at) for kind, customer, details in changes]
    if len(rows) == 1:
        connection.execute(query, rows[0])
    elif rows:
        connection.cursor().executemany(query, rows)


def sequence(connection: psycopg.Connection) -> int:
    """Give positions to committed rows that have none; returns how many. Safe to call from anywhere at any time.

    Only the holder of the advisory lock gives positions, and only to rows it can see committed: a reader that
    remembers a position never misses a row that commits later.
    """
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [SEQUENCER_LOCK])
        done = connection.execute(
            """
            with last as (select coalesce(max(position), 0) as position from changes),
            waiting as (select change_id, row_number() over (order by change_id) as nth from changes where position is null)
            update changes c set position = last.position + waiting.nth
            from last, waiting where c.change_id = waiting.change_id
            """
        )
    return done.rowcount
