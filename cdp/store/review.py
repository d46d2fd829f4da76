"""The review queue as stewards read it."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb


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


def answered(store: psycopg.Connection, customers: list[str]) -> None:
    """Take out of the queue what was asked about these customers among themselves: somebody has said it."""
    store.execute(
        "delete from review_pairs r using assignment a, assignment b where a.record_id = r.left_id and b.record_id = r.right_id "
        "and a.customer_id = any(%(c)s::uuid[]) and b.customer_id = any(%(c)s::uuid[])",
        {"c": customers},
    )


def replace(store: psycopg.Connection, rows: list[tuple[str, str, float, float, Jsonb]]) -> int:
    """Replace the queue in one transaction; returns how many pairs it holds.

    What people said while the rows were made is not asked again: pairs of customers, who may be one by now, of whose records
    a decision stands.
    """
    with store.transaction(), store.cursor() as cursor:
        # who answers meanwhile waits, and holds no row of it: else the two could wait for one another
        cursor.execute("lock table review_pairs in share row exclusive mode")
        cursor.execute("delete from review_pairs")
        cursor.executemany(
            "insert into review_pairs (left_id, right_id, weight, impact, details) values (%s, %s, %s, %s, %s)", rows
        )
        cursor.execute(
            """
            with decided as (
                select least(x.customer_id, y.customer_id) as one, greatest(x.customer_id, y.customer_id) as other
                from link_decisions d join assignment x on x.record_id = d.left_id join assignment y on y.record_id = d.right_id
                where d.revoked_by is null
            )
            delete from review_pairs r using assignment a, assignment b, decided d
            where a.record_id = r.left_id and b.record_id = r.right_id
                and d.one = least(a.customer_id, b.customer_id) and d.other = greatest(a.customer_id, b.customer_id)
            """
        )
    return waiting(store)


def tally(store: psycopg.Connection, who: str, threshold: float | None, now: datetime) -> dict[str, int]:
    """How far stewards are: decided in the last day by this one and by all, and how often one agreed with the model.

    Args:
        store: A connection.
        who: The steward, as decisions name them.
        threshold: Match weight from which the model joins; None without a model.
        now: The moment.
    """
    with store.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            select count(*) filter (where d.actor = %(who)s and d.at > %(since)s) as mine,
                count(*) filter (where d.at > %(since)s) as everybody,
                count(*) filter (where d.actor = %(who)s and d.verdict <> 'unsure' and d.weight is not null) as compared,
                count(*) filter (where d.actor = %(who)s and d.verdict <> 'unsure' and (d.verdict = 'same') = (d.weight >= %(threshold)s::float8)) as agreed
            from link_decisions d join changesets c using (changeset_id) where d.revoked_by is null and c.kind = 'review'
            """,
            {"who": who, "threshold": threshold, "since": now - timedelta(days=1)},
        ).fetchone()
    assert row is not None
    return dict(row) if threshold is not None else {**row, "compared": 0, "agreed": 0}
