"""Referral codes and claims in the store, and what the identity graph says of the two people."""

from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
CONNECTED = """
    with mine as (select record_id from assignment where customer_id = %(one)s),
    theirs as (select record_id from assignment where customer_id = %(other)s)
    select reason from (
        select 'identifier' as reason from identifiers i join identifiers o using (type, value)
        where i.record_id in (select record_id from mine) and o.record_id in (select record_id from theirs)
        union all
        select 'household' from households h join households k using (household_id)
        where h.record_id in (select record_id from mine) and k.record_id in (select record_id from theirs)
        union all
        select 'link' from edges where (left_id in (select record_id from mine) and right_id in (select record_id from theirs))
            or (right_id in (select record_id from mine) and left_id in (select record_id from theirs))
    ) as found limit 1
"""
BOUGHT = """
    select r.referral_id::text, r.referrer_record, r.referred_record, r.at, a.customer_id::text as referrer, b.customer_id::text as referred,
        o.order_id, o.ordered_at, o.total + coalesce((select sum(x.total) from orders x where x.kind = 'return'
            and x.details ->> 'original_order_id' = o.order_id), 0) as net
    from referrals r
    join assignment a on a.record_id = r.referrer_record
    join assignment b on b.record_id = r.referred_record
    left join lateral (
        select o.* from orders o join assignment c on c.record_id = o.record_id
        where c.customer_id = b.customer_id and o.kind = 'sale' and o.ordered_at >= r.at and o.currency = %(currency)s and o.total >= %(least)s
        order by o.ordered_at, o.order_id limit 1
    ) o on true
    where r.programme = %(programme)s
    order by r.at, r.referral_id
"""


def code_of(store: psycopg.Connection, record: str, programme: str) -> str | None:
    """A record's code, if it has one."""
    rows = store.execute(
        "select code from referral_codes where record_id = %s and programme = %s", [record, programme]
    ).fetchall()
    return str(rows[0][0]) if rows else None


def owner(store: psycopg.Connection, code: str) -> Row | None:
    """Whose code it is."""
    with store.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            "select code, record_id, programme from referral_codes where code = %s", [code]
        ).fetchall()
    return found[0] if found else None


def add_code(store: psycopg.Connection, code: str, record: str, programme: str, actor: str, at: datetime) -> None:
    """Give a record a code."""
    store.execute(
        "insert into referral_codes (code, record_id, programme, created_at, actor) values (%s, %s, %s, %s, %s) on conflict do nothing",
        [code, record, programme, at, actor],
    )


def connected(store: psycopg.Connection, one: str, other: str) -> str | None:
    """What connects two customers in the identity graph: a shared identifier, a household, a link; None if nothing does."""
    rows = store.execute(CONNECTED, {"one": one, "other": other}).fetchall()
    return str(rows[0][0]) if rows else None


def add(store: psycopg.Connection, referral: Row) -> bool:
    """Note a claim; false if the referred record has claimed before."""
    done = store.execute(
        "insert into referrals (referral_id, code, referrer_record, referred_record, programme, at, actor) values "
        "(%(referral_id)s, %(code)s, %(referrer_record)s, %(referred_record)s, %(programme)s, %(at)s, %(actor)s) on conflict do nothing",
        referral,
    )
    return bool(done.rowcount)


def of_referred(store: psycopg.Connection, records: list[str]) -> list[Row]:
    """Claims of these records."""
    with store.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select referral_id::text, code, at from referrals where referred_record = any(%s) order by at", [records]
        ).fetchall()


def bought(store: psycopg.Connection, programme: str, currency: str, least: Any) -> list[Row]:
    """Every claim with the first qualifying order of the referred customer after it, less what came back."""
    with store.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(BOUGHT, {"programme": programme, "currency": currency, "least": least}).fetchall()


def has_ordered(store: psycopg.Connection, customer: str) -> bool:
    """Whether a customer has bought before."""
    rows = store.execute(
        "select 1 from orders join assignment using (record_id) where customer_id = %s and kind = 'sale' limit 1",
        [customer],
    ).fetchall()
    return bool(rows)
