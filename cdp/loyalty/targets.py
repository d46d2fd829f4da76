"""What every order should have posted under a programme, with a stated reason where that is nothing."""

import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa

from cdp.lake import build
from cdp.lake.engine import Lake
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
    select concat($prefix, record_id, '|opening'), $unit, null, null, record_id, 'opening', points, opened_at, 'opening', null
    from core__opening_balances order by record_id
"""


def build_targets(lake: Lake, store: psycopg.Connection, programme: Programme) -> build.Built:
    """`core__loyalty_targets`: grain = order or event × unit × what it posts (earn, redeem; clawback and restore of a return), and record × opening balance."""
    known = (books.issued_so_far(store, programme.programme), plans.so_far(store)) if programme.asks_the_past else ()
    mark = build.fingerprint(lake, INPUTS, programme.fingerprint, known, "targets 6")
    return build.build_table(lake, TABLE, mark, lambda: _table(lake, store, programme))


def _table(lake: Lake, store: psycopg.Connection, programme: Programme) -> pa.Table:
    parts = parts_of(lake)
    frames = [
        pl.DataFrame(list(of_part(lake, programme, part, parts, store)), schema=SCHEMA, orient="row")
        for part in range(parts)
    ]
    seen = programme.of(programme.spends) if programme.spends else None
    found = lake.rows(OPENINGS, {"prefix": seen.prefix, "unit": seen.unit}) if seen else []
    opened = pl.DataFrame(found, schema=SCHEMA, orient="row")
    return pl.concat([*frames, opened]).to_arrow()


def parts_of(lake: Lake) -> int:
    """In how many parts orders are read, so that one fits in memory."""
    return build.rows(lake, "core__order_lines") // LINES_AT_A_TIME + 1


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
    kinds = [
        kind
        for (kind,) in lake.rows("select distinct kind from core__interactions order by 1")
        if event_name(kind) in programme.events
    ]
    events = [_event(row) for row in lake.records(EVENTS, {**chosen, "kinds": kinds})] if kinds else []
    yield from targets(orders, lines, programme, events, _past(lake, store, programme, chosen, bound))


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
