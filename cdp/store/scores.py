"""Scores of customers, and figures over everybody, as the last run found them."""

import json
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb


def put(store: psycopg.Connection, rows: list[tuple[str, str, str]], now: datetime) -> None:
    """Write scores, in a transaction: (customer, scores as JSON, fingerprint). Nobody who was erased gets any."""
    if not rows:
        return
    store.execute(
        "create temporary table if not exists incoming_scores (customer_id uuid, scores jsonb, row_hash text) on commit delete rows"
    )
    with store.cursor() as cursor, cursor.copy("copy incoming_scores from stdin") as copy:
        for row in rows:
            copy.write_row(row)
    store.execute(
        "insert into customer_scores (customer_id, scores, scored_at, row_hash) select i.customer_id, i.scores, %s, i.row_hash from incoming_scores i "
        "join customers c using (customer_id) where c.erased_at is null order by i.customer_id for key share of c "
        "on conflict (customer_id) do update set scores = excluded.scores, scored_at = excluded.scored_at, row_hash = excluded.row_hash",
        [now],
    )
    store.execute("truncate incoming_scores")


def forget(store: psycopg.Connection, customers: list[str]) -> None:
    """Take scores away."""
    store.execute("delete from customer_scores where customer_id = any(%s::uuid[])", [customers])


def of_customers(store: psycopg.Connection, customers: list[str]) -> dict[str, dict[str, Any]]:
    """Customer → scores, with `scored_at`; who has none is absent."""
    query = "select customer_id::text, scores, scored_at from customer_scores where customer_id = any(%s::uuid[])"
    return {row[0]: {**row[1], "scored_at": row[2]} for row in store.execute(query, [customers]).fetchall()}


def newest(store: psycopg.Connection) -> str:
    """A mark that changes when scores were published anew."""
    return str(store.execute("select coalesce(max(scored_at)::text, '') from customer_scores").fetchall()[0][0])


def put_figures(store: psycopg.Connection, figures: dict[str, Any], now: datetime) -> None:
    """Write figures by name; those of the same name are replaced, others are gone."""
    with store.transaction():
        store.execute("delete from insight where name <> all(%s)", [list(figures)])
        with store.cursor() as cursor:
            cursor.executemany(
                "insert into insight values (%s, %s, %s) on conflict (name) do update set figures = excluded.figures, made_at = excluded.made_at "
                "where insight.figures is distinct from excluded.figures",
                [(name, Jsonb(body, dumps=_text), now) for name, body in figures.items()],
            )


def figures(store: psycopg.Connection, name: str | None = None) -> dict[str, Any]:
    """All of them, by name, or the one of this name; none before the first run."""
    query = "select name, figures from insight where name = coalesce(%s, name) order by name"
    with store.cursor(row_factory=dict_row) as cursor:
        return {row["name"]: row["figures"] for row in cursor.execute(query, [name])}


def _text(body: Any) -> str:
    return json.dumps(_finite(body), allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    """JSON knows no infinity and nothing that is not a number."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float | Decimal):
        return float(value) if isfinite(value) else None
    return value
