"""What every order should have posted under a programme, with a stated reason where that is nothing."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.loyalty.orders import targets
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Line

TABLE = "core__loyalty_targets"
INPUTS = ("core__customers", "core__opening_balances", "core__order_lines", "core__orders", "core__record_customers")
SCHEMA: dict[str, Any] = {
    "posting_key": pl.String, "order_id": pl.String, "original_order_id": pl.String, "record_id": pl.String,
    "kind": pl.String, "amount": pl.Int64, "occurred_at": pl.Datetime("us", "UTC"), "reason": pl.String,
}  # fmt: skip
LINES_AT_A_TIME = 100_000
ORDERS = """
    select o.order_id, o.original_order_id, o.record_id, o.kind, o.ordered_at, o.currency, o.points_redeemed, o.original_key,
        coalesce(c.kind = 'known', false) as is_member
    from core__orders o
    left join core__record_customers r on r.record_id = o.record_id
    left join core__customers c on c.customer_id = r.customer_id
    where hash(coalesce(o.original_order_id, o.order_id)) % $parts = $part
    order by o.order_id
"""
LINES = """
    select l.order_id, l.line_no, l.sku, l.quantity, l.amount
    from core__order_lines l join core__orders o on o.order_id = l.order_id
    where hash(coalesce(o.original_order_id, o.order_id)) % $parts = $part
    order by l.order_id, l.line_no
"""  # a sale and its returns always fall into the same part

OPENINGS = """
    select concat($prefix, record_id, '|opening'), null, null, record_id, 'opening', points, opened_at, 'opening' from core__opening_balances
    order by record_id
"""


def build_targets(lake: Lake, programme: Programme) -> build.Built:
    """`core__loyalty_targets`: grain = order × what it posts (earn, redeem; clawback and restore of a return), and record × opening balance."""
    mark = build.fingerprint(lake, INPUTS, programme.model_dump_json(), "targets 4")
    return build.build_table(lake, TABLE, mark, lambda: _table(lake, programme))


def _table(lake: Lake, programme: Programme) -> pa.Table:
    parts = build.rows(lake, "core__order_lines") // LINES_AT_A_TIME + 1
    frames = [
        pl.DataFrame(list(_targets(lake, programme, part, parts)), schema=SCHEMA, orient="row") for part in range(parts)
    ]
    named = {"prefix": programme.prefix}
    opened = pl.DataFrame(lake.rows(OPENINGS, named), schema=SCHEMA, orient="row")
    return pl.concat([*frames, opened]).to_arrow()


def _targets(lake: Lake, programme: Programme, part: int, parts: int) -> Iterator[tuple[object, ...]]:
    chosen = {"part": part, "parts": parts}
    lines: dict[str, list[Line]] = defaultdict(list)
    for order, number, sku, quantity, amount in lake.rows(LINES, chosen):
        lines[order].append(Line(number, sku or "", quantity, amount))
    orders = {row["order_id"]: row for row in lake.records(ORDERS, chosen)}
    yield from targets(orders, lines, programme)
