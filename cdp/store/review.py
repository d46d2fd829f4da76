"""The review queue as stewards read it."""

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
