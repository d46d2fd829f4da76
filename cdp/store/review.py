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
