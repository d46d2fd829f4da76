"""Rows written ahead of the run that reads them: each carries a mark until that run has published."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

Row = dict[str, Any]


def keep_records(store: psycopg.Connection, rows: Sequence[Row], mark: str) -> None:
    """New contact records; of one that is known, what is said anew goes over what was said before."""
    _each(
        store,
        "insert into contact_records as r (record_id, source, kind, source_key, first_seen, last_seen, link_weight, fields, row_hash) "
        "values (%(record_id)s, %(source)s, %(kind)s, %(source_key)s, %(first_seen)s, %(last_seen)s, %(link_weight)s, %(fields)s, %(mark)s) "
        "on conflict (record_id) do update set fields = r.fields || jsonb_strip_nulls(excluded.fields), "
        "first_seen = least(r.first_seen, excluded.first_seen), last_seen = greatest(r.last_seen, excluded.last_seen), row_hash = excluded.row_hash",
        rows,
        mark,
    )


def keep_identifiers(store: psycopg.Connection, rows: Sequence[Row], mark: str) -> None:
    """Identifiers of records, with their dates."""
    _each(
        store,
        "insert into identifiers as i (record_id, type, value, first_seen, last_seen, row_hash) "
        "values (%(record_id)s, %(type)s, %(value)s, %(first_seen)s, %(last_seen)s, %(mark)s) on conflict (record_id, type, value) do update set "
        "first_seen = least(i.first_seen, excluded.first_seen), last_seen = greatest(i.last_seen, excluded.last_seen), row_hash = excluded.row_hash",
        rows,
        mark,
    )


def keep_interactions(store: psycopg.Connection, rows: Sequence[Row], mark: str) -> None:
    """Interactions; a later state of one that is known goes over it."""
    _each(
        store,
        "insert into interactions (interaction_id, record_id, source, kind, occurred_at, details, row_hash) values (%(interaction_id)s, %(record_id)s, "
        "%(source)s, %(kind)s, %(occurred_at)s, %(details)s, %(mark)s) on conflict (interaction_id) do update set details = excluded.details, row_hash = excluded.row_hash",
        rows,
        mark,
    )


def keep_orders(store: psycopg.Connection, rows: Sequence[Row], mark: str) -> list[Row]:
    """Orders that are not known yet; returns those."""
    query = "select order_id from orders where order_id = any(%s)"
    known = {row[0] for row in store.execute(query, [[row["order_id"] for row in rows]])} if rows else set()
    fresh = [row for row in rows if row["order_id"] not in known]
    _each(
        store,
        "insert into orders (order_id, record_id, source, kind, ordered_at, currency, total, details, row_hash) values (%(order_id)s, %(record_id)s, "
        "%(source)s, %(kind)s, %(ordered_at)s, %(currency)s, %(total)s, %(details)s, %(mark)s)",
        fresh,
        mark,
    )
    return fresh


def keep_decisions(store: psycopg.Connection, rows: Sequence[Row], now: datetime) -> list[Row]:
    """Decisions about consent that are not known yet; returns those."""
    names = (
        "decision_id", "record_id", "subject_type", "subject", "purpose", "status", "captured_at", "received_at", "source", "method",
        "notice_version", "basis", "jurisdiction", "expires_at", "confirmed_at", "separate_consent", "is_explicit", "evidence", "actor",
    )  # fmt: skip
    if not rows:
        return []
    known = {
        row[0]
        for row in store.execute(
            "select decision_id from consent_decisions where decision_id = any(%s)", [[r["decision_id"] for r in rows]]
        )
    }
    fresh = [row for row in rows if row["decision_id"] not in known]
    with store.cursor() as cursor:
        cursor.executemany(
            f"insert into consent_decisions ({', '.join(names)}, recorded_at) values ({', '.join(f'%({name})s' for name in names)}, %(now)s) on conflict do nothing",
            [{**row, "evidence": row["evidence"] or "{}", "now": now} for row in fresh],
        )
    return fresh


def mark_profiles(store: psycopg.Connection, customers: Sequence[str], mark: str) -> None:
    """These profiles were made from rows that no run has read yet."""
    store.execute("update profiles set row_hash = %s where customer_id = any(%s::uuid[])", [mark, list(customers)])


def waiting(store: psycopg.Connection) -> set[str]:
    """Marks of rows whose events no landing file holds yet: the run that is under way does not know them."""
    marks = {
        str(row[0])
        for table in ("contact_records", "identifiers", "orders", "interactions", "profiles")
        for row in store.execute(f"select distinct row_hash from {table} where starts_with(row_hash, 'live:')")
    }
    seen = "select 1 from inbox where inbox_id between %s and %s and payload is not null limit 1"
    return {mark for mark in marks if store.execute(seen, [int(part) for part in mark.split(":")[1:]]).fetchall()}


def _each(store: psycopg.Connection, query: str, rows: Sequence[Row], mark: str) -> None:
    if rows:
        with store.cursor() as cursor:
            cursor.executemany(query, [{**row, "mark": mark} for row in rows])
