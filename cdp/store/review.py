"""The review queue as stewards read it."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row


def waiting(store: psycopg.Connection) -> int:
    """How many pairs wait."""
    return int(store.execute("select count(*) from review_pairs").fetchall()[0][0])


def pairs(store: psycopg.Connection, limit: int | None) -> list[dict[str, Any]]:
    """Pairs, those first that would move most."""
    with store.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select left_id, right_id, weight, impact, details from review_pairs order by impact desc, left_id, right_id limit %s",
            [limit],
        ).fetchall()


def tally(store: psycopg.Connection, who: str, now: datetime) -> dict[str, int]:
    """How far stewards are: decided today by this one and by all, and how often one agreed with what others said of a pair.

    Args:
        store: A connection.
        who: The steward, as decisions name them.
        now: Today is the day before this moment.
    """
    with store.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            with words as (
                select d.left_id, d.right_id, d.verdict, d.actor, d.at from link_decisions d
                join changesets c using (changeset_id) where d.revoked_by is null and c.kind = 'review'
            ), twice as (
                select w.verdict = o.verdict as agreed from words w
                join words o on o.left_id = w.left_id and o.right_id = w.right_id and o.actor <> w.actor
                where w.actor = %(who)s
            )
            select (select count(*) from words where actor = %(who)s and at > %(since)s) as mine,
                (select count(*) from words where at > %(since)s) as everybody,
                (select count(*) from twice) as compared, (select count(*) from twice where agreed) as agreed
            """,
            {"who": who, "since": now - timedelta(days=1)},
        ).fetchone()
    assert row is not None
    return dict(row)
