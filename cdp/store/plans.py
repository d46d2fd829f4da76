"""Subscriptions and circles in the store: events are appended, never changed."""

from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from cdp.loyalty.plans import PlanEvent

Row = dict[str, Any]


def add(store: psycopg.Connection, event: Row) -> bool:
    """Note what happened to a subscription; false if that is known."""
    done = store.execute(
        "insert into plan_events (event_id, subscription_id, record_id, programme, plan, kind, at, amount, reason, actor, posted_at) values "
        "(%(event_id)s, %(subscription_id)s, %(record_id)s, %(programme)s, %(plan)s, %(kind)s, %(at)s, %(amount)s, %(reason)s, %(actor)s, %(posted_at)s) "
        "on conflict do nothing",
        event,
    )
    return bool(done.rowcount)


def of_records(
    store: psycopg.Connection, records: list[str], programme: str
) -> dict[str, tuple[str, str, list[PlanEvent]]]:
    """The subscriptions of these records: id → (record, plan, events)."""
    return _grouped(store, "record_id = any(%s) and programme = %s", [records, programme])


def find(store: psycopg.Connection, subscription_id: str) -> tuple[str, str, list[PlanEvent]] | None:
    """One subscription: (record, plan, events)."""
    return _grouped(store, "subscription_id = %s", [subscription_id]).get(subscription_id)


def so_far(store: psycopg.Connection) -> tuple[Any, ...]:
    """Changes when something happens to a subscription."""
    return tuple(store.execute("select count(*), max(posted_at)::text from plan_events").fetchall()[0])


def _grouped(store: psycopg.Connection, where: str, values: list[Any]) -> dict[str, tuple[str, str, list[PlanEvent]]]:
    found: dict[str, tuple[str, str, list[PlanEvent]]] = {}
    rows = store.execute(
        f"select subscription_id::text, record_id, plan, kind, at, amount from plan_events where {where} order by at, posted_at, event_id",
        values,
    )
    for name, record, plan, kind, at, amount in rows:
        found.setdefault(name, (record, plan, []))[2].append(PlanEvent(at, kind, Decimal(amount)))
    return found


def note(store: psycopg.Connection, event: Row) -> bool:
    """Note what happened in a circle; false if that is known."""
    done = store.execute(
        "insert into circle_events (event_id, circle_id, record_id, programme, kind, at, actor, posted_at) values "
        "(%(event_id)s, %(circle_id)s, %(record_id)s, %(programme)s, %(kind)s, %(at)s, %(actor)s, %(at)s) on conflict do nothing",
        event,
    )
    return bool(done.rowcount)


STANDING = """
    select distinct on (circle_id, record_id) circle_id::text, record_id, kind, at from circle_events
    where programme = %(programme)s and circle_id in (select circle_id from circle_events where record_id = any(%(records)s))
    order by circle_id, record_id, at desc, posted_at desc, event_id desc
"""


def circles(store: psycopg.Connection, records: list[str], programme: str) -> list[Row]:
    """Who stands how in every circle that one of these records was ever in: (circle, record, last kind, when, customer now)."""
    with store.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"select s.*, a.customer_id::text as customer_id from ({STANDING}) s left join assignment a using (record_id) order by s.at, s.record_id",
            {"programme": programme, "records": records},
        ).fetchall()


def sharing(store: psycopg.Connection, records: list[str], programme: str) -> list[str]:
    """All records of all customers that are in a circle with the customer of one of these records, its own among them."""
    rows = store.execute(
        "with mine as (select record_id from assignment where customer_id in (select customer_id from assignment where record_id = any(%(records)s))), "
        "standing as (select distinct on (circle_id, record_id) circle_id, record_id, kind from circle_events where programme = %(programme)s "
        "order by circle_id, record_id, at desc, posted_at desc, event_id desc), "
        "inside as (select * from standing where kind in ('found', 'accept')) "
        "select distinct b.record_id from inside i join inside o using (circle_id) join assignment a on a.record_id = o.record_id "
        "join assignment b on b.customer_id = a.customer_id where i.record_id in (select record_id from mine) order by 1",
        {"records": records, "programme": programme},
    )
    return [str(row[0]) for row in rows]
