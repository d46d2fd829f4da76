"""Reading one customer from the store."""

from datetime import date, datetime
from typing import Any

import orjson
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

Row = dict[str, Any]
FIRST_ID = "00000000-0000-0000-0000-000000000000"  # before every id: one plan for the first page and all others
HOLDERS = """
    asked as (select * from json_to_recordset(%(asked)s::json) as t (n int, type text, value text)),
    found as (
        select a.n, i.record_id, i.type from identifiers i join asked a using (type, value)
        union
        select a.n, o.record_id, 'order' from orders o join asked a on a.type = 'order'
            and (o.order_id = a.value or o.details ->> 'order_key' = a.value)
        union
        select a.n, r.record_id, 'ticket' from contact_records r join asked a on a.type = 'ticket'
            and r.kind = 'ticket' and r.source_key = a.value
        union
        select a.n, a.value, 'record' from asked a where a.type = 'record'
    ), held as (
        select f.n, s.customer_id, array_agg(distinct f.type) as matched,
            row_number() over (partition by f.n order by s.customer_id) as nth
        from found f join assignment s using (record_id) group by f.n, s.customer_id
    )
"""  # n: which question; nth: which of its customers


def profile(connection: psycopg.Connection, customer_id: str) -> Row | None:
    """The published profile of a living customer."""
    return _one(
        connection,
        "select customer_id::text, kind, profile from profiles where customer_id = %s",
        [customer_id],
    )


def exists(connection: psycopg.Connection, customer_id: str) -> bool:
    """Whether a customer is published."""
    return bool(_all(connection, "select 1 from profiles where customer_id = %s", [customer_id]))


def is_known(connection: psycopg.Connection, customer_id: str) -> bool:
    """Whether a customer is somebody, not an anonymous visitor."""
    return bool(_all(connection, "select 1 from profiles where customer_id = %s and kind = 'known'", [customer_id]))


def known_after(connection: psycopg.Connection, after: str | None, limit: int, countries: list[str]) -> list[Row]:
    """Profiles of known customers by id, those after the one given; of these countries where any are given."""
    return _all(
        connection,
        "select customer_id::text, kind, profile from profiles p where kind = 'known' and p.customer_id > %(after)s::uuid "
        "and (cardinality(%(countries)s::text[]) = 0 or profile -> 'country' ->> 'value' = any(%(countries)s)) order by p.customer_id limit %(limit)s",
        {"after": after or FIRST_ID, "countries": countries, "limit": limit},
    )


def records(connection: psycopg.Connection, customer_id: str) -> list[Row]:
    """The contact records of a customer."""
    return _all(
        connection,
        "select r.record_id, r.source, r.kind, r.first_seen, r.last_seen, r.link_weight from assignment a "
        "join contact_records r using (record_id) where a.customer_id = %s order by r.first_seen, r.record_id",
        [customer_id],
    )


def raw_records(connection: psycopg.Connection, customer_id: str) -> list[Row]:
    """The contact records of a customer with all that each says."""
    return _all(
        connection,
        "select r.record_id, r.source, r.kind, r.last_seen, r.link_weight, r.fields from assignment a "
        "join contact_records r using (record_id) where a.customer_id = %s order by r.first_seen, r.record_id",
        [customer_id],
    )


def record(connection: psycopg.Connection, record_id: str) -> Row | None:
    """One contact record with all that it says."""
    query = "select record_id, source, kind, last_seen, fields from contact_records where record_id = %s"
    return _one(connection, query, [record_id])


def lookup(connection: psycopg.Connection, asked: list[list[tuple[str, str]]], limit: int) -> list[Row]:
    """Customers that hold identifiers, orders or tickets, with the types that matched.

    Args:
        connection: To the store.
        asked: For each question the (type, value) pairs it could mean.
        limit: Most customers of one question.

    Returns:
        Rows of `n` (which question, from nothing), `customer_id`, `matched`; by question, then by id.
    """
    return _all(
        connection,
        f"with {HOLDERS} select n, customer_id::text, matched from held where nth <= %(limit)s order by n, customer_id",
        {**asking(asked), "limit": limit},
    )


def asking(asked: list[list[tuple[str, str]]]) -> dict[str, str]:
    """The parameter of `HOLDERS`, as one text: an array of values is slower to write."""
    rows = [{"n": n, "type": kind, "value": value} for n, pairs in enumerate(asked) for kind, value in pairs]
    return {"asked": orjson.dumps(rows).decode()}


def profiles(connection: psycopg.Connection, customer_ids: list[str]) -> dict[str, Row]:
    """The published profiles of these customers, by id; those that are not published are not there."""
    rows = _all(
        connection,
        "select customer_id::text, kind, profile from profiles where customer_id = any(%s::uuid[])",
        [customer_ids],
    )
    return {row["customer_id"]: row for row in rows}


def tickets(connection: psycopg.Connection, customer_id: str, limit: int) -> list[Row]:
    """The newest tickets, as the help desk has them now."""
    return _all(
        connection,
        "select i.interaction_id as id, i.record_id, i.occurred_at as opened_at, i.details -> 'details' ->> 'status' as status, "
        "i.details -> 'details' ->> 'subject' as subject, i.details -> 'details' ->> 'via' as channel, i.details ->> 'order_id' as order_id, "
        "i.details -> 'details' ->> 'nps' as nps, i.details -> 'details' ->> 'satisfaction' as satisfaction "
        "from assignment a join interactions i using (record_id) where a.customer_id = %s and i.kind = 'ticket' "
        "order by i.occurred_at desc, i.interaction_id limit %s",
        [customer_id, limit],
    )


def sales(connection: psycopg.Connection, customer_id: str, limit: int) -> list[datetime]:
    """When the newest sales happened."""
    rows = _all(
        connection,
        "select o.ordered_at from assignment a join orders o using (record_id) where a.customer_id = %s and o.kind = 'sale' "
        "order by o.ordered_at desc limit %s",
        [customer_id, limit],
    )
    return [row["ordered_at"] for row in rows]


def timeline(
    connection: psycopg.Connection,
    customer_id: str,
    before: tuple[datetime, str] | None,
    limit: int,
    channel: str | None = None,
    kind: str | None = None,
) -> list[Row]:
    """Newest first: orders, interactions, consent decisions and ledger entries of all the customer's records.

    Args:
        connection: To the store.
        customer_id: A living customer.
        before: (time, id) of the last item already seen.
        limit: Most items to return.
        channel: Only what happened there.
        kind: Only items of this type.
    """
    at, last = before if before else (None, None)
    return _all(
        connection,
        """
        with mine as materialized (select record_id from assignment where customer_id = %(customer)s),
        items as (
            select 'order:' || o.order_id as id, case o.kind when 'sale' then 'order' else 'return' end as type,
                o.source as channel, o.record_id, o.ordered_at as occurred_at,
                o.details || jsonb_build_object('currency', o.currency, 'total', o.total::text) as details
            from orders o join mine using (record_id)
            union all
            select 'interaction:' || i.interaction_id, i.kind, i.source, i.record_id, i.occurred_at, i.details
            from interactions i join mine using (record_id)
            union all
            select 'consent:' || d.decision_id, 'consent', d.source, d.record_id, coalesce(d.captured_at, d.received_at),
                jsonb_build_object('purpose', d.purpose, 'status', d.status, 'method', d.method)
            from consent_decisions d join mine using (record_id)
            union all
            select 'ledger:' || e.entry_id, 'points', split_part(a.record_id, ':', 1), a.record_id, e.occurred_at,
                jsonb_build_object('kind', e.kind, 'amount', e.amount, 'reason', e.reason, 'order_id', e.order_id)
            from ledger_entries e join ledger_accounts a using (account_id) join mine using (record_id)
        )
        select * from items
        where (%(at)s::timestamptz is null or (occurred_at, id) < (%(at)s::timestamptz, %(last)s::text))
            and (%(channel)s::text is null or channel = %(channel)s) and (%(kind)s::text is null or type = %(kind)s)
        order by occurred_at desc, id desc limit %(limit)s
        """,
        {"customer": customer_id, "at": at, "last": last, "limit": limit, "channel": channel, "kind": kind},
    )


def loyalty(connection: psycopg.Connection, customer_id: str) -> tuple[list[Row], list[Row]]:
    """The customer's accounts with their balances, and every dated entry (kind, amount, when)."""
    accounts = _all(
        connection,
        "select l.account_id, l.record_id, l.programme, l.unit, coalesce(sum(e.amount), 0)::bigint as balance "
        "from assignment a join ledger_accounts l using (record_id) left join ledger_entries e using (account_id) "
        "where a.customer_id = %s group by l.account_id order by l.account_id",
        [customer_id],
    )
    entries = _all(
        connection,
        "select e.entry_id::text, e.kind, e.amount, e.occurred_at, e.reason, e.order_id, e.programme_version, l.unit "
        "from assignment a join ledger_accounts l using (record_id) join ledger_entries e using (account_id) "
        "where a.customer_id = %s order by e.occurred_at desc, e.entry_id",
        [customer_id],
    )
    return accounts, entries


def devices(connection: psycopg.Connection, customer_id: str, limit: int) -> list[Row]:
    """Browsers and devices, those seen last first."""
    return _all(
        connection,
        "select i.type, i.value, min(i.first_seen) as first_seen, max(i.last_seen) as last_seen from assignment a "
        "join identifiers i using (record_id) where a.customer_id = %s and i.type in ('browser', 'device') "
        "group by i.type, i.value order by 4 desc, 2 limit %s",
        [customer_id, limit],
    )


def household(connection: psycopg.Connection, customer_id: str, limit: int) -> list[str]:
    """Other customers of the same household."""
    rows = _all(
        connection,
        "select distinct o.customer_id::text from assignment a join households h using (record_id) join households k using (household_id) "
        "join assignment o on o.record_id = k.record_id join profiles p on p.customer_id = o.customer_id "
        "where a.customer_id = %(id)s and o.customer_id <> %(id)s order by 1 limit %(limit)s",
        {"id": customer_id, "limit": limit},
    )
    return [row["customer_id"] for row in rows]


def holds(connection: psycopg.Connection, customer_id: str, record_id: str) -> bool:
    """Whether a record is the customer's."""
    query = "select 1 from assignment where record_id = %s and customer_id = %s"
    return bool(_all(connection, query, [record_id, customer_id]))


def oldest_record(connection: psycopg.Connection, customer_id: str) -> str | None:
    """The record that was seen first: whatever no other record asked for belongs to it."""
    found = _all(
        connection,
        "select a.record_id from assignment a left join contact_records r using (record_id) where a.customer_id = %s "
        "order by r.first_seen nulls last, a.record_id limit 1",
        [customer_id],
    )
    return found[0]["record_id"] if found else None


def anchor(connection: psycopg.Connection, customer_id: str) -> str | None:
    """The record that stands for the person best, for what is to stay with them: an account, else a card, else one with a name."""
    found = _all(
        connection,
        "select a.record_id from assignment a join contact_records r using (record_id) where a.customer_id = %s order by r.source = 'console', "
        "case r.fields ->> 'identifier' when 'account' then 0 when 'card' then 1 when 'browser' then 3 when 'device' then 3 else 2 end, "
        "r.fields ->> 'full_name' is null, r.first_seen, a.record_id limit 1",
        [customer_id],
    )
    return found[0]["record_id"] if found else None


def birth_date(connection: psycopg.Connection, records: list[str]) -> date | None:
    """The birth date of the golden record of the customer with these records, if it is whole."""
    found = _all(
        connection,
        "select distinct p.profile -> 'birth_date' ->> 'value' as born from profiles p join assignment a using (customer_id) "
        "where a.record_id = any(%s)",
        [records],
    )
    try:
        return date.fromisoformat(found[0]["born"]) if len(found) == 1 and found[0]["born"] else None
    except ValueError:
        return None


OF_RECORDS = (
    "contact_records", "identifiers", "orders", "interactions", "consent_decisions", "assignment_history", "ledger_holds", "ledger_approvals",
    "plan_events", "circle_events", "grants", "referral_codes", "till_allowances", "notes",
)  # fmt: skip


def all_of(connection: psycopg.Connection, table: str, customer_id: str) -> list[Row]:
    """Every row of one table about a customer's records, without what is only ours (fingerprints)."""
    if table not in OF_RECORDS:
        raise ValueError(table)
    query = sql.SQL(
        "select to_jsonb(t) - 'row_hash' as row from {} t where record_id in (select record_id from assignment where customer_id = %s) "
        "order by to_jsonb(t)::text"
    ).format(sql.Identifier(table))
    return [row["row"] for row in _all(connection, query, [customer_id])]


def referrals(connection: psycopg.Connection, customer_id: str) -> list[Row]:
    """Claims that a customer made or that name it, without the other side's record."""
    return _all(
        connection,
        "select referral_id::text, at, case when referred_record in (select record_id from assignment where customer_id = %(id)s) then 'invited' "
        "else 'inviter' end as side from referrals where referred_record in (select record_id from assignment where customer_id = %(id)s) "
        "or referrer_record in (select record_id from assignment where customer_id = %(id)s) order by at, 1",
        {"id": customer_id},
    )


def till_spends(connection: psycopg.Connection, customer_id: str) -> list[Row]:
    """What tills spent for a customer while they were offline."""
    return _all(
        connection,
        "select transaction_id::text, s.amount, s.at, s.received_at, s.order_id, a.till from till_spends s join till_allowances a using (allowance_id) "
        "join assignment using (record_id) where customer_id = %s order by s.at, 1",
        [customer_id],
    )


def _all(connection: psycopg.Connection, query: Any, parameters: Any) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()


def _one(connection: psycopg.Connection, query: str, parameters: Any) -> Row | None:
    found = _all(connection, query, parameters)
    return found[0] if found else None
