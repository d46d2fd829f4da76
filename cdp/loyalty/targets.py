"""What every order should have posted under a programme, with a stated reason where that is nothing."""

from collections import defaultdict
from collections.abc import Iterator

import polars as pl

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Earned, Line, Return, clawbacks, earn

TABLE = "core__loyalty_targets"
INPUTS = ("core__customers", "core__order_lines", "core__orders", "core__record_customers")
SCHEMA = {
    "posting_key": pl.String, "order_id": pl.String, "original_order_id": pl.String, "record_id": pl.String,
    "kind": pl.String, "amount": pl.Int64, "occurred_at": pl.Datetime("us", "UTC"), "reason": pl.String,
}  # fmt: skip
ORDERS = """
    select o.order_id, o.original_order_id, o.record_id, o.kind, o.ordered_at, o.currency, o.points_redeemed, o.original_key,
        coalesce(c.kind = 'known', false) as is_member
    from core__orders o
    left join core__record_customers r on r.record_id = o.record_id
    left join core__customers c on c.customer_id = r.customer_id
    order by o.order_id
"""


def build_targets(lake: Lake, programme: Programme) -> build.Built:
    """`core__loyalty_targets`: grain = order × what it posts (earn, clawback, redeem)."""
    mark = build.fingerprint(lake, INPUTS, programme.model_dump_json(), "targets 1")
    return build.build_table(lake, TABLE, mark, lambda: pl.DataFrame(list(targets(lake, programme)), schema=SCHEMA, orient="row").to_arrow())


def targets(lake: Lake, programme: Programme) -> Iterator[tuple[object, ...]]:
    """The rows of the table."""
    lines: dict[str, list[Line]] = defaultdict(list)
    for order, number, sku, quantity, amount in lake.rows(
        "select order_id, line_no, sku, quantity, amount from core__order_lines order by order_id, line_no"
    ):
        lines[order].append(Line(number, sku or "", quantity, amount))
    orders = {row["order_id"]: row for row in lake.records(ORDERS)}
    earned: dict[str, Earned] = {}
    returns: dict[str, list[Return]] = defaultdict(list)
    for order_id, order in orders.items():
        if order["kind"] == "sale":
            reason = _no_earning(order, programme)
            earned[order_id] = Earned(0, {}, earn([], programme).eligible) if reason else earn(lines[order_id], programme)
            yield _row(programme, order, "earn", order["record_id"], earned[order_id].points, reason or "spend")
        elif order["original_order_id"]:
            returns[order["original_order_id"]].append(Return(order_id, order["ordered_at"], tuple(lines[order_id])))
        else:
            reason = "order_absent" if order["original_key"] else "no_order_named"
            yield _row(programme, order, "clawback", order["record_id"], 0, reason)
        if order["points_redeemed"] and order["kind"] == "sale":
            reason = "redeemed_at_till" if order["record_id"] else "nobody"
            amount = -order["points_redeemed"] if order["record_id"] else 0
            yield _row(programme, order, "redeem", order["record_id"], amount, reason)
    for original, items in returns.items():
        taken = clawbacks(lines[original], earned[original], items, programme)
        for item in items:
            row = orders[item.order_id]
            yield _row(programme, row, "clawback", orders[original]["record_id"], -taken[item.order_id], "return")


def _no_earning(order: dict[str, object], programme: Programme) -> str | None:
    if order["record_id"] is None:
        return "nobody"
    if not order["is_member"]:
        return "anonymous"
    if order["currency"] != programme.currency:
        return "other_currency"
    return None


def _row(programme: Programme, order: dict[str, object], kind: str, record: object, amount: int, reason: str) -> tuple[object, ...]:
    key = f"{programme.programme}|{programme.unit}|{order['order_id']}|{kind}"
    return key, order["order_id"], order["original_order_id"], record, kind, amount, order["ordered_at"], reason
