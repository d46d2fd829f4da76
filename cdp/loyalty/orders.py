"""What an order and its returns post under a programme: the one rule of pipeline, API and preview."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from cdp.loyalty.posting import Posting, transaction_id
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Earned, Line, Return, clawbacks, earn, given_back

COLUMNS = ("posting_key", "order_id", "original_order_id", "record_id", "kind", "amount", "occurred_at", "reason")


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
        sale = orders[original]
        taken = clawbacks(lines.get(original, []), earned[original], items, programme)
        for item in items:
            yield _row(programme, orders[item.order_id], "clawback", sale["record_id"], -taken[item.order_id], "return")
        if sale["points_redeemed"] and sale["record_id"]:
            for name, points in given_back(sale["points_redeemed"], lines.get(original, []), items).items():
                yield _row(programme, orders[name], "restore", sale["record_id"], points, "return")


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
    key = programme.key(str(order["order_id"]), kind)
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


def sale(order: dict[str, Any], lines: list[Line], programme: Programme) -> tuple[list[Posting], str | None]:
    """What a sale posts the moment it is known, by the keys that the pipeline uses; and why it earns nothing, if so."""
    rows = [
        dict(zip(COLUMNS, row, strict=True))
        for row in targets({order["order_id"]: order}, {order["order_id"]: lines}, programme)
    ]
    reason = next((str(row["reason"]) for row in rows if row["kind"] == "earn" and not row["amount"]), None)
    made = [posting({**row, "revision": 0, "difference": row["amount"]}, programme) for row in rows if row["amount"]]
    return made, reason


def posting(row: dict[str, Any], programme: Programme) -> Posting:
    """A redemption draws over the customer's accounts; fewer points redeemed than before, and a return, give some back."""
    first, moved, amount = row["revision"] == 0, row["reason"] == "order_moved", row["difference"]
    redeemed, back = row["kind"] == "redeem", None
    if redeemed and amount > 0:
        back = row["posting_key"]
    elif row["kind"] == "restore" and amount > 0:
        back = programme.key(row["original_order_id"], "redeem")
    kept = row["occurred_at"] + timedelta(days=programme.restored_min_days) if row["kind"] == "restore" else None
    # a later revision may post to several records at once: when an order moves from one to another
    later = f"{row['posting_key']}#{row['revision']}#{row['record_id']}"
    return Posting(
        key=row["posting_key"],
        revision=row["revision"],
        record_id=row["record_id"],
        kind=row["kind"] if first or redeemed else "adjust",
        amount=amount,
        occurred_at=row["occurred_at"],
        reason="order_moved" if moved else (row["reason"] if first else "order_changed"),
        order_id=row["order_id"],
        original_order_id=row["original_order_id"],
        across=redeemed and amount < 0,
        reverses=back,
        expires_at=kept if back else None,
        transaction=None if first else transaction_id(later),
        contra={"redeem": "redeemed", "restore": "redeemed", "opening": "adjusted"}.get(row["kind"], "issued"),
    )
