"""Units that are set aside for a moment, and adjustments that wait for a second person."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
HOLD = "hold_id::text, record_id, programme, unit, amount, created_at, expires_at, resolved_at, resolution, captured, order_id, reason, actor"
APPROVAL = "approval_id::text, record_id, programme, unit, amount, reason, asked_by, asked_at, decided_by, decided_at, approved"


def held(store: psycopg.Connection, records: list[str], programme: str, unit: str, now: datetime) -> int:
    """Units set aside for these records at this moment."""
    query = (
        "select coalesce(sum(amount), 0)::bigint from ledger_holds where record_id = any(%s) and programme = %s and unit = %s "
        "and resolved_at is null and expires_at > %s"
    )
    return int(store.execute(query, [records, programme, unit, now]).fetchall()[0][0])


def lately(
    store: psycopg.Connection, records: list[str], programme: str, unit: str, now: datetime, within: timedelta
) -> tuple[int, int]:
    """How often and how much was set aside lately for these records and is still open."""
    query = (
        "select count(*), coalesce(sum(amount), 0)::bigint from ledger_holds where record_id = any(%s) and programme = %s and unit = %s "
        "and resolved_at is null and expires_at > %s and created_at > %s"
    )
    row = store.execute(query, [records, programme, unit, now, now - within]).fetchall()[0]
    return int(row[0]), int(row[1])


def add(store: psycopg.Connection, hold: Row) -> bool:
    """Set units aside; false if the id is there already."""
    done = store.execute(
        "insert into ledger_holds (hold_id, record_id, programme, unit, amount, created_at, expires_at, order_id, reason, actor) values "
        "(%(hold_id)s, %(record_id)s, %(programme)s, %(unit)s, %(amount)s, %(created_at)s, %(expires_at)s, %(order_id)s, %(reason)s, %(actor)s) "
        "on conflict do nothing",
        hold,
    )
    return bool(done.rowcount)


def find(store: psycopg.Connection, hold_id: str, *, lock: bool = False) -> Row | None:
    """A hold, locked if it is to be resolved."""
    return _one(store, f"select {HOLD} from ledger_holds where hold_id = %s{' for update' if lock else ''}", [hold_id])


def resolve(store: psycopg.Connection, hold_id: str, resolution: str, captured: int, now: datetime) -> None:
    """End a hold: captured in part or whole, or voided."""
    store.execute(
        "update ledger_holds set resolved_at = %s, resolution = %s, captured = %s where hold_id = %s",
        [now, resolution, captured, hold_id],
    )


def ask(store: psycopg.Connection, approval: Row) -> bool:
    """Let an adjustment wait; false if the id is there already."""
    done = store.execute(
        "insert into ledger_approvals (approval_id, record_id, programme, unit, amount, reason, asked_by, asked_at) values "
        "(%(approval_id)s, %(record_id)s, %(programme)s, %(unit)s, %(amount)s, %(reason)s, %(asked_by)s, %(asked_at)s) on conflict do nothing",
        approval,
    )
    return bool(done.rowcount)


def approval(store: psycopg.Connection, approval_id: str, *, lock: bool = False) -> Row | None:
    """An adjustment that waits or waited."""
    where = f"where approval_id = %s{' for update' if lock else ''}"
    return _one(store, f"select {APPROVAL} from ledger_approvals {where}", [approval_id])


def waiting(store: psycopg.Connection, limit: int, customer_id: str | None = None) -> list[Row]:
    """Adjustments that wait, the oldest first, with the customer each is about; of one customer where it is given."""
    with store.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"select {APPROVAL}, customer_id::text from ledger_approvals join assignment using (record_id) where decided_at is null "
            "and (%(customer)s::uuid is null or customer_id = %(customer)s::uuid) order by asked_at, approval_id limit %(limit)s",
            {"customer": customer_id, "limit": limit},
        ).fetchall()


def decide(store: psycopg.Connection, approval_id: str, by: str, approved: bool, now: datetime) -> None:
    """The second person's answer."""
    store.execute(
        "update ledger_approvals set decided_by = %s, decided_at = %s, approved = %s where approval_id = %s",
        [by, now, approved, approval_id],
    )


def _one(store: psycopg.Connection, query: str, parameters: list[Any]) -> Row | None:
    with store.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query, parameters).fetchall()
    return found[0] if found else None
