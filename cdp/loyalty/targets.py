"""What every order should have posted under a programme, with a stated reason where that is nothing.

Where no rule asks what was before, a sale with its returns, an event and an opening balance are each on their own: a *document*, as bookkeepers say.
Only those are looked at again of which something changed that they rest on.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl
import psycopg

from cdp.lake import build, delta
from cdp.lake.engine import Lake
from cdp.lake.register import recorded
from cdp.loyalty.orders import Past, targets
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Line
from cdp.loyalty.terms import event_name
from cdp.store import books, plans

TABLE = "core__loyalty_targets"
INPUTS = (
    "core__customers",
    "core__interactions",
    "core__opening_balances",
    "core__order_lines",
    "core__orders",
    "core__record_customers",
)
SCHEMA: dict[str, Any] = {
    "posting_key": pl.String, "unit": pl.String, "order_id": pl.String, "original_order_id": pl.String, "record_id": pl.String,
    "kind": pl.String, "amount": pl.Int64, "occurred_at": pl.Datetime("us", "UTC"), "reason": pl.String, "details": pl.String,
    "document": pl.String,
}  # fmt: skip
LINES_AT_A_TIME = 100_000
ORDERS = """
    select o.order_id, o.original_order_id, o.record_id, o.source, o.kind, o.ordered_at, o.currency, o.points_redeemed, o.original_key,
        r.customer_id, coalesce(c.kind = 'known', false) as is_member
    from core__orders o
    left join core__orders b on b.order_id = o.original_order_id
    left join core__record_customers r on r.record_id = o.record_id
    left join core__record_customers s on s.record_id = case when b.order_id is null then o.record_id else b.record_id end
    left join core__customers c on c.customer_id = r.customer_id
    where hash(coalesce(s.customer_id, o.original_order_id, o.order_id)) % $parts = $part
    order by o.order_id
"""
LINES = """
    select l.order_id, l.line_no, l.sku, l.quantity, l.amount
    from core__order_lines l join core__orders o on o.order_id = l.order_id
    left join core__orders b on b.order_id = o.original_order_id
    left join core__record_customers s on s.record_id = case when b.order_id is null then o.record_id else b.record_id end
    where hash(coalesce(s.customer_id, o.original_order_id, o.order_id)) % $parts = $part
    order by l.order_id, l.line_no
"""  # a customer's sales and their returns, whoever brings them, always fall into the same part
EVENTS = """
    select i.interaction_id as event_id, i.kind, i.record_id, i.source, i.occurred_at, i.order_id, r.customer_id,
        coalesce(c.kind = 'known', false) as is_member, i.details
    from core__interactions i
    join core__record_customers r on r.record_id = i.record_id
    left join core__customers c on c.customer_id = r.customer_id
    where i.kind in (select unnest($kinds)) and hash(r.customer_id) % $parts = $part
    order by i.interaction_id
"""
RECORDS = "select record_id, customer_id from core__record_customers where hash(customer_id) % $parts = $part"
OPENINGS = """
    select concat($prefix, record_id, '|opening'), $unit, null, null, record_id, 'opening', points, opened_at, 'opening', null,
        concat('opening:', record_id)
    from core__opening_balances order by record_id
"""
RESTS_ON = """
    with members as (
        select r.record_id, c.kind = 'known' as is_member from core__record_customers r left join core__customers c using (customer_id)
    ), documents as (
        select order_id, case when kind = 'sale' then order_id else coalesce(original_order_id, order_id) end as document,
            hash(order_id, original_order_id, record_id, source, kind, ordered_at, currency, points_redeemed, original_key, is_member) as h
        from core__orders left join members using (record_id)
        union all
        select null, concat('event:', interaction_id), hash(record_id, source, kind, occurred_at, order_id, is_member, details)
        from core__interactions join members using (record_id) where kind in (select unnest($kinds))
        union all
        select null, concat('opening:', record_id), hash(points, opened_at) from core__opening_balances where $opened
    ), parts as (
        select document, h from documents
        union all
        select document, hash(l.order_id, line_no, sku, quantity, amount) from core__order_lines l join documents using (order_id)
    )
    select document, hash(sum(hash(h))) as rests_on from parts group by document
"""  # not on whose customer the record is: an order posts the same for any. Each hash is hashed again: that of several values is linear
# in the last, and what changes alike in two rows would cancel. A sum, not a list: lists do not spill
TOUCHED = {
    "core__orders": "case when kind = 'sale' then order_id else coalesce(original_order_id, order_id) end in (from touched)",
    "core__order_lines": "order_id in (select order_id from core__orders)",
    "core__interactions": "concat('event:', interaction_id) in (from touched)",
    "core__opening_balances": "concat('opening:', record_id) in (from touched)",
}


@build.timed
def build_targets(lake: Lake, store: psycopg.Connection, programme: Programme) -> build.Built:
    """`core__loyalty_targets`: grain = order or event × unit × what it posts (earn, redeem; clawback and restore of a return), and record × opening balance."""
    known = (books.issued_so_far(store, programme.programme), plans.so_far(store)) if programme.asks_the_past else ()
    depends = build.fingerprint(lake, (), programme.fingerprint, programme.version, "targets 7")
    mark = build.fingerprint(lake, INPUTS, depends, known)
    if recorded(lake, TABLE) == mark:
        return build.Built(TABLE, build.rows(lake, TABLE), changed=False)
    asked = {"kinds": _kinds(lake, programme), "opened": bool(programme.spends)}
    lake.rows(f"create or replace temp table rests as {RESTS_ON}", asked)
    scope = None if programme.asks_the_past else delta.otherwise(TABLE, "document", TOUCHED)
    built = build.refresh(lake, TABLE, mark, depends, (), lambda: _made(lake, store, programme), scope)
    lake.drop("rests", "touched", "owed")
    return built


def _made(lake: Lake, store: psycopg.Connection, programme: Programme) -> str:
    """The select of the rows that the orders and events at hand should have posted."""
    parts = parts_of(lake)
    frames = [
        pl.DataFrame(
            [(*row, _document(row, programme)) for row in of_part(lake, programme, part, parts, store)], schema=SCHEMA, orient="row"
        )
        for part in range(parts)
    ]  # fmt: skip
    seen = programme.of(programme.spends) if programme.spends else None
    found = lake.rows(OPENINGS, {"prefix": seen.prefix, "unit": seen.unit}) if seen else []
    opened = pl.DataFrame(found, schema=SCHEMA, orient="row")
    with build.incoming(lake, pl.concat([*frames, opened]).to_arrow()):
        lake.rows("create or replace temp table owed as from incoming")
    return "select owed.*, rests_on from owed left join rests using (document)"


def _document(row: tuple[Any, ...], programme: Programme) -> str:
    """What a row follows from: the sale, also for what its return takes or gives back; the event."""
    key, unit, order, original, _, kind = row[:6]
    if kind in ("clawback", "restore"):
        return str(original or order)
    return str(order or key[len(f"{programme.programme}|{unit}|") : -len(f"|{kind}")])


def parts_of(lake: Lake) -> int:
    """In how many parts orders are read, so that one fits in memory."""
    return int(lake.scalar("select count(*) from core__order_lines")) // LINES_AT_A_TIME + 1


def of_part(
    lake: Lake, programme: Programme, part: int, parts: int, store: psycopg.Connection, *, bound: bool = True
) -> Iterator[tuple[object, ...]]:
    """What the orders and events of a part of the customers should have posted: rows of `orders.COLUMNS`.

    Args:
        lake: Where.
        programme: The rules, all versions.
        part: Which part.
        parts: Of how many.
        store: Where level and rules of what has posted are written.
        bound: Whether they stand.
    """
    chosen = {"part": part, "parts": parts}
    lines: dict[str, list[Line]] = defaultdict(list)
    for order, number, sku, quantity, amount in lake.rows(LINES, chosen):
        lines[order].append(Line(number, sku or "", quantity, amount))
    orders = {row["order_id"]: row for row in lake.records(ORDERS, chosen)}
    kinds = _kinds(lake, programme)
    events = [_event(row) for row in lake.records(EVENTS, {**chosen, "kinds": kinds})] if kinds else []
    yield from targets(orders, lines, programme, events, _past(lake, store, programme, chosen, bound))


def _kinds(lake: Lake, programme: Programme) -> list[str]:
    """What interactions earn, of those that there are."""
    there = lake.rows("select distinct kind from core__interactions order by 1")
    return [kind for (kind,) in there if event_name(kind) in programme.events]


def _past(lake: Lake, store: psycopg.Connection, programme: Programme, chosen: dict[str, int], bound: bool) -> Past:
    """What levels, limits and membership of a part of the customers rest on; nothing where no rule asks."""
    if not (bound and programme.remembers) and programme.join != "paid":
        return Past()
    customers = dict(lake.rows(RECORDS, chosen))
    rows, held = defaultdict[object, list[dict[str, Any]]](list), defaultdict[object, list[Any]](list)
    for row in books.issued(store, programme.programme, list(customers)) if bound and programme.remembers else ():
        rows[customers[row["record_id"]]].append(row)
    terms = {plan.code: plan for version in programme.versions for plan in version.plans}
    subscribed = plans.of_records(store, list(customers), programme.programme) if programme.join == "paid" else {}
    for record, code, happened in subscribed.values():
        if code in terms:
            held[customers[record]].append((terms[code], happened))
    return Past(rows, held)


def _event(row: dict[str, Any]) -> dict[str, Any]:
    """An interaction as the rules see it: what it carries, and its amount of money if it has one."""
    carried = json.loads(row.pop("details") or "{}")
    try:
        amount = Decimal(str(carried.get("amount", 0)))
    except InvalidOperation:
        amount = Decimal(0)
    return {**row, "properties": carried, "amount": amount if amount.is_finite() else Decimal(0)}
