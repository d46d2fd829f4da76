"""Rewards taken, coupons issued, benefits used, and how many of a limited offer are gone."""

from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Row = dict[str, Any]
GRANT = "grant_id::text, record_id, programme, kind, offer, at, expires_at, code, order_id, used_at, undone_at, reason, actor, cost, counted"


def take(store: psycopg.Connection, programme: str, kind: str, offer: str, limit: int) -> bool:
    """Take one of a limited offer; whoever comes meanwhile waits. False if none is left."""
    if limit < 1:
        return False
    done = store.execute(
        "insert into offers as o (programme, kind, offer, taken) values (%s, %s, %s, 1) "
        "on conflict (programme, kind, offer) do update set taken = o.taken + 1 where o.taken < %s returning taken",
        [programme, kind, offer, limit],
    )
    return bool(done.fetchall())


def put_back(store: psycopg.Connection, programme: str, kind: str, offer: str) -> None:
    """One of a limited offer is there again."""
    store.execute(
        "update offers set taken = taken - 1 where programme = %s and kind = %s and offer = %s and taken > 0",
        [programme, kind, offer],
    )


def taken(store: psycopg.Connection, programme: str, kind: str) -> dict[str, int]:
    """How many of each limited offer are gone."""
    rows = store.execute("select offer, taken from offers where programme = %s and kind = %s", [programme, kind])
    return {str(offer): int(number) for offer, number in rows}


def given(store: psycopg.Connection, programme: str, kind: str) -> dict[str, int]:
    """How often each offer was given and not given back."""
    rows = store.execute(
        "select offer, count(*) from grants where programme = %s and kind = %s and undone_at is null group by 1 order by 1",
        [programme, kind],
    )
    return {str(offer): int(number) for offer, number in rows}


def add(store: psycopg.Connection, grant: Row) -> None:
    """Note what was given."""
    store.execute(
        "insert into grants (grant_id, record_id, programme, kind, offer, at, expires_at, code, order_id, used_at, reason, actor, cost, counted) values "
        "(%(grant_id)s, %(record_id)s, %(programme)s, %(kind)s, %(offer)s, %(at)s, %(expires_at)s, %(code)s, %(order_id)s, %(used_at)s, "
        "%(reason)s, %(actor)s, %(cost)s, %(counted)s)",
        {**grant, "cost": Jsonb(grant["cost"])},
    )


def find(store: psycopg.Connection, grant_id: str) -> Row | None:
    """What was given, by its id."""
    return _one(store, f"select {GRANT} from grants where grant_id = %s", [grant_id])


def by_code(store: psycopg.Connection, code: str) -> Row | None:
    """A coupon by its secret."""
    return _one(store, f"select {GRANT} from grants where code = %s", [code])


def of_records(store: psycopg.Connection, records: list[str], programme: str, kind: str) -> list[Row]:
    """What these records were given and have not given back, the oldest first."""
    with store.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"select {GRANT} from grants where record_id = any(%s) and programme = %s and kind = %s and undone_at is null order by at, grant_id",
            [records, programme, kind],
        ).fetchall()


def use(store: psycopg.Connection, grant_id: str, order_id: str | None, at: datetime | None) -> None:
    """A coupon was used for an order, or (no time) is unused again."""
    store.execute("update grants set used_at = %s, order_id = %s where grant_id = %s", [at, order_id, grant_id])


def undo(store: psycopg.Connection, grant_id: str, at: datetime) -> None:
    """What was given is given back."""
    store.execute("update grants set undone_at = %s where grant_id = %s", [at, grant_id])


def _one(store: psycopg.Connection, query: str, parameters: list[Any]) -> Row | None:
    with store.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query, parameters).fetchall()
    return found[0] if found else None
