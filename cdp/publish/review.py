"""The review queue in the store: what a steward sees first is what a decision would move most."""

import psycopg
from psycopg.types.json import Jsonb

from cdp.lake.build import is_empty
from cdp.lake.engine import Lake
from cdp.store import review

MOST = 5_000
DETAILS = (
    "left_customer",
    "right_customer",
    "left_points",
    "right_points",
    "left_spent",
    "right_spent",
    "consent_conflicts",
)


def publish_review(lake: Lake, store: psycopg.Connection) -> int:
    """Replace the queue with the lake's; returns how many pairs it holds."""
    columns = ", ".join(f"cast({name} as varchar)" for name in DETAILS)
    query = (
        f"select left_id, right_id, weight, impact, {columns} from core__review_pairs "
        f"order by impact desc, left_id, right_id limit {MOST}"
    )
    rows = [] if is_empty(lake, "core__review_pairs") else lake.rows(query)
    return review.replace(store, [(*row[:4], Jsonb(dict(zip(DETAILS, row[4:], strict=True)))) for row in rows])
