"""What every order should have posted under a programme, with a stated reason where that is nothing."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Earned, Line, Return, clawbacks, earn

TABLE = "core__loyalty_targets"
INPUTS = ("core__customers", "core__order_lines", "core__orders", "core__record_customers")
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


def build_targets(lake: Lake, programme: Programme) -> build.Built:
    """`core__loyalty_targets`: grain = order × what it posts (earn, clawback, redeem)."""
    mark = build.fingerprint(lake, INPUTS, programme.model_dump_json(), "targets 2")
    return build.build_table(lake, TABLE, mark, lambda: _table(lake, programme))


def _table(lake: Lake, programme: Programme) -> pa.Table:
    parts = build.rows(lake, "core__order_lines") // LINES_AT_A_TIME + 1
    frames = [
        pl.DataFrame(list(_targets(lake, programme, part, parts)), schema=SCHEMA, orient="row") for part in range(parts)
    ]
    return pl.concat(frames).to_arrow()


def _targets(lake: Lake, programme: Programme, part: int, parts: int) -> Iterator[tuple[object, ...]]:
    chosen = {"part": part, "parts": parts}
    lines: dict[str, list[Line]] = defaultdict(list)
    for order, number, sku, quantity, amount in lake.rows(LINES, chosen):
        lines[order].append(Line(number, sku or "", quantity, amount))
    orders = {row["order_id"]: row for row in lake.records(ORDERS, chosen)}
    yield from targets(orders, lines, programme)


def targets(
    orders: dict[str, dict[str, Any]], lines: dict[str, list[Line]], programme: Programme
) -> Iterator[tuple[object, ...]]:
    """The rows of the table for orders and the returns that name them.

    Args:
        orders: The columns of `ORDERS` by order id.
        lines: Order lines by order id.
        programme: The rules.
    """
    earned: dict[str, Earned] = {}
    returns: dict[str, list[Return]] = defaultdict(list)
    for order_id, order in orders.items():
        if order["kind"] == "sale":
            reason = _no_earning(order, programme)
            earned[order_id] = earn([] if reason else lines.get(order_id, []), programme)
            yield _row(programme, order, "earn", order["record_id"], earned[order_id].points, reason or "spend")
        elif order["original_order_id"]:
            returns[order["original_order_id"]].append(
                Return(order_id, order["ordered_at"], tuple(lines.get(order_id, [])))
            )
        else:
            reason = "order_absent" if order["original_key"] else "no_order_named"
            yield _row(programme, order, "clawback", order["record_id"], 0, reason)
        if order["points_redeemed"] and order["kind"] == "sale":
            reason = "redeemed_at_till" if order["record_id"] else "nobody"
            amount = -order["points_redeemed"] if order["record_id"] else 0
            yield _row(programme, order, "redeem", order["record_id"], amount, reason)
    for original, items in returns.items():
        taken = clawbacks(lines.get(original, []), earned[original], items, programme)
        for item in items:
            yield _row(
                programme,
                orders[item.order_id],
                "clawback",
                orders[original]["record_id"],
                -taken[item.order_id],
                "return",
            )


def _no_earning(order: dict[str, object], programme: Programme) -> str | None:
    if order["record_id"] is None:
        return "nobody"
    if not order["is_member"]:
        return "anonymous"
    if order["currency"] != programme.currency:
        return "other_currency"
    return None


def _row(
    programme: Programme, order: dict[str, object], kind: str, record: object, amount: int, reason: str
) -> tuple[object, ...]:
    key = f"{programme.programme}|{programme.unit}|{order['order_id']}|{kind}"
    return (
        key,
        order["order_id"],
        order["original_order_id"],
        record,
        kind,
        amount,
        order["ordered_at"],
        reason,
    )
