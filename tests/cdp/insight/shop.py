"""A shop of a few lines: orders and interactions as the pipeline hands them to insight, and everything measured of them."""

import json
from datetime import UTC, datetime
from itertools import count

import polars as pl

from cdp.insight.rules import Insight
from cdp.insight.stage import Measuring, measure
from cdp.lake import build
from cdp.loyalty.reports import TIERS
from cdp.service import Service

MONEY = pl.Decimal(28, 4)
AT = pl.Datetime("us", "UTC")
ORDERS = {
    "order_id": pl.String, "source": pl.String, "order_key": pl.String, "record_id": pl.String, "kind": pl.String, "ordered_at": AT, "currency": pl.String,
    "total": MONEY, "lines": pl.Int64, "points_redeemed": pl.Int64, "original_key": pl.String, "original_order_id": pl.String,
}  # fmt: skip
LINES = {
    "order_id": pl.String, "line_no": pl.Int64, "sku": pl.String, "name": pl.String, "quantity": pl.Int64, "unit_price": MONEY, "discount": MONEY, "amount": MONEY,
}  # fmt: skip
TOUCHES = {
    "interaction_id": pl.String, "record_id": pl.String, "source": pl.String, "kind": pl.String, "occurred_at": AT, "order_key": pl.String,
    "order_id": pl.String, "order_record_id": pl.String, "details": pl.String,
}  # fmt: skip
RULES = Insight.model_validate({
    "version": "test", "currency": "GBP", "horizon_days": 30,
    "funnel": {"visit": ["page"], "product": ["Product Viewed"], "basket": ["Product Added", "Basket"], "checkout": ["Checkout Started"]},
})  # fmt: skip
_marks = count()


def at(text):
    return datetime.fromisoformat(text if "T" in text else f"{text}T12:00:00").replace(tzinfo=UTC)


def order(who, when, amount, channel="web", currency="GBP", discounted=False):
    return {"who": who, "at": at(when), "amount": amount, "channel": channel, "currency": currency, "discounted": discounted}


def touch(who, when, kind, channel="web", **details):
    return {"who": who, "at": at(when), "kind": kind, "channel": channel, "details": details}


def write(lake, table, schema, rows):
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    build.build_table(lake, table, f"test {next(_marks)}", frame.to_arrow)


def fill(lake, orders, touches=(), tiers=()):
    """Write what insight reads: every customer has one record of the same name."""
    rows, lines = [], []
    for number, o in enumerate(orders):
        name, kind = f"{o['channel']}:{number}", "sale" if o["amount"] >= 0 else "return"
        rows.append((name, o["channel"], str(number), o["who"], kind, o["at"], o["currency"], str(o["amount"]), 1, None, None, None))
        lines.append((name, 1, "MUG", "Mug", 1, str(o["amount"]), "1" if o["discounted"] else None, str(o["amount"])))
    write(lake, "core__orders", ORDERS | {"total": pl.String}, rows)
    write(lake, "core__order_lines", LINES | dict.fromkeys(("unit_price", "discount", "amount"), pl.String), lines)
    for table, columns in (("core__orders", ("total",)), ("core__order_lines", ("unit_price", "discount", "amount"))):
        cast = pl.DataFrame(lake.connection.execute(f"from {table}").to_arrow_table()).with_columns(pl.col(c).cast(MONEY) for c in columns)
        build.build_table(lake, table, f"test {next(_marks)}", cast.to_arrow)
    people = sorted({o["who"] for o in orders if o["who"]} | {t["who"] for t in touches})
    write(lake, "core__record_customers", {"record_id": pl.String, "customer_id": pl.String}, [(p, p) for p in people])
    write(lake, "core__customers", {"customer_id": pl.String, "kind": pl.String}, [(p, "known") for p in people])
    write(lake, "core__customer_tiers", TIERS, [(who, "p", level, 1, 0, None, None, None, 0, None) for who, level in tiers])
    write(lake, "core__interactions", TOUCHES, [
        (f"i{n}", t["who"], t["channel"], t["kind"], t["at"], None, None, None, json.dumps(t["details"], ensure_ascii=False)) for n, t in enumerate(touches)
    ])  # fmt: skip


def measured(platform, orders, touches=(), now="2026-07-01", rules=RULES, tiers=(), service=None, want=()):
    """Everything measured of a shop, or what the wanted tables need; returns the lake to ask."""
    fill(platform.lake, orders, touches, tiers)
    measure(Measuring(platform.lake, rules, service or Service(version="test"), "GBP", at(now)), want)
    return platform.lake
