"""Answers kept for whoever repeats a request under the same Idempotency-Key."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

KEPT = timedelta(days=7)


def claim(store: psycopg.Connection, key_id: str, key: str) -> bool:
    """Whether nobody else is at this key; it is ours until the transaction ends."""
    query = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
    return bool(store.execute(query, [f"idempotency|{key_id}|{key}"]).fetchall()[0][0])


def find(store: psycopg.Connection, key_id: str, key: str) -> tuple[str, int, dict[str, Any]] | None:
    """(fingerprint, status, answer) of the request that used the key."""
    query = "select fingerprint, status, answer from idempotency_keys where key_id = %s and idempotency_key = %s"
    found = store.execute(query, [key_id, key]).fetchall()
    return found[0] if found else None


def keep(
    store: psycopg.Connection,
    key_id: str,
    key: str,
    fingerprint: str,
    status: int,
    answer: dict[str, Any],
    now: datetime,
) -> None:
    """Keep an answer, in the transaction that did what it tells."""
    store.execute(
        "insert into idempotency_keys values (%s, %s, %s, %s, %s, %s)",
        [key_id, key, fingerprint, status, Jsonb(answer), now],
    )


def forget(store: psycopg.Connection, now: datetime) -> int:
    """Drop answers older than a week; their operations stay known by their own ids."""
    return store.execute("delete from idempotency_keys where at < %s", [now - KEPT]).rowcount
