"""Allowances of tills and what they did with them."""

from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]


def add(store: psycopg.Connection, row: Row) -> None:
    """Note an allowance."""
    store.execute(
        "insert into till_allowances (allowance_id, record_id, programme, unit, till, amount, granted_at, expires_at, actor) values "
        "(%(allowance_id)s, %(record_id)s, %(programme)s, %(unit)s, %(till)s, %(amount)s, %(granted_at)s, %(expires_at)s, %(actor)s)",
        row,
    )


def find(store: psycopg.Connection, allowance_id: str) -> Row | None:
    """An allowance."""
    query = "select allowance_id::text, record_id, programme, unit, till, amount, granted_at, expires_at, actor from till_allowances where allowance_id = %s"
    return _one(store, query, [allowance_id])


def outstanding(store: psycopg.Connection, records: list[str], till: str, now: datetime) -> int:
    """What a till may still do for a customer under allowances that have not ended."""
    query = "select coalesce(sum(amount), 0)::bigint from till_allowances where record_id = any(%s) and till = %s and expires_at > %s"
    return int(store.execute(query, [records, till, now]).fetchall()[0][0])


def add_spend(store: psycopg.Connection, row: Row) -> None:
    """Note what a till spent under an allowance."""
    store.execute(
        "insert into till_spends (transaction_id, allowance_id, amount, at, received_at, order_id) values "
        "(%(transaction_id)s, %(allowance_id)s, %(amount)s, %(at)s, %(received_at)s, %(order_id)s)",
        row,
    )


def spend(store: psycopg.Connection, transaction_id: str) -> Row | None:
    """What a till spent, with its allowance."""
    query = (
        "select transaction_id::text, allowance_id::text, s.amount, s.at, s.order_id, a.amount as allowed, a.expires_at, a.record_id, a.till "
        "from till_spends s join till_allowances a using (allowance_id) where transaction_id = %s"
    )
    return _one(store, query, [transaction_id])


def before(store: psycopg.Connection, row: Row) -> int:
    """What was spent under the same allowance before, in order of time."""
    query = "select coalesce(sum(amount), 0)::bigint from till_spends where allowance_id = %s and (at, transaction_id) < (%s, %s::uuid)"
    return int(store.execute(query, [row["allowance_id"], row["at"], row["transaction_id"]]).fetchall()[0][0])


def _one(store: psycopg.Connection, query: str, parameters: list[Any]) -> Row | None:
    with store.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query, parameters).fetchall()
    return found[0] if found else None
