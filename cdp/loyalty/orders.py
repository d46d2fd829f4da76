"""What orders, their returns and events post under a programme: the one rule of pipeline, API and preview."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cdp.loyalty.earning import Occasion, Tally, earn, period
from cdp.loyalty.expiry import first_end
from cdp.loyalty.ladder import Climb, Item
from cdp.loyalty.posting import Posting, transaction_id
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Earned, Line, Return, clawbacks, given_back
from cdp.loyalty.terms import Level, event_name

COLUMNS = (
    "posting_key", "unit", "order_id", "original_order_id", "record_id", "kind", "amount", "occurred_at", "reason", "details",
)  # fmt: skip
Row = tuple[object, ...]


@dataclass
class Past:
    """What was before, where earning asks for it.

    Attributes:
        bound: Level and rules of what has posted, by posting key: they stand.
        items: What counts for the ladder and is not among the orders at hand.
        tally: What rules with a limit gave by what is not at hand.
    """

    bound: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


def targets(
    orders: Mapping[str, dict[str, Any]],
    lines: Mapping[str, list[Line]],
    programme: Programme,
    events: Iterable[dict[str, Any]] = (),
    past: Past | None = None,
) -> Iterator[Row]:
    """What orders, the returns that name them and events post: rows of `COLUMNS`.

    Args:
        orders: By order id: `kind`, `record_id`, `customer_id`, `is_member`, `ordered_at`, `currency`, `source`, `points_redeemed`,
            `original_order_id`, `original_key`.
        lines: Order lines by order id.
        programme: The rules, all versions.
        events: `event_id`, `kind`, `record_id`, `customer_id`, `is_member`, `occurred_at`, `source`, `order_id`, `amount`, `properties`.
        past: What was before.
    """
    before, returns = past or Past(), defaultdict[str, list[Return]](list)
    people: dict[object, list[dict[str, Any]]] = defaultdict(list)
    for order_id, order in orders.items():
        if order["kind"] == "sale":
            person = order.get("customer_id") or order["record_id"] or order_id
            people[person].append({**order, "at": order["ordered_at"], "id": order_id})
        elif order["original_order_id"]:
            returns[order["original_order_id"]].append(Return(order_id, order["ordered_at"], tuple(lines.get(order_id, []))))  # fmt: skip
        else:
            reason = "order_absent" if order["original_key"] else "no_order_named"
            yield _row(programme, order, "clawback", order["record_id"], 0, reason)
    for event in events:
        person = event.get("customer_id") or event["record_id"]
        people[person].append({**event, "at": event["occurred_at"], "id": event["event_id"], "ordered_at": event["occurred_at"]})  # fmt: skip
    for things in people.values():
        yield from _person(sorted(things, key=lambda t: (t["at"], t["id"])), lines, returns, orders, programme, before)


def _person(
    things: list[dict[str, Any]], lines: Mapping[str, list[Line]], returns: Mapping[str, list[Return]],
    orders: Mapping[str, dict[str, Any]], programme: Programme, past: Past,
) -> Iterator[Row]:  # fmt: skip
    """One customer's sales and events, in order of time: each sees the level and the limits that were there before it."""
    ladder = programme.ladder if programme.remembers else None
    way, ahead = Climb(programme, ladder) if ladder else None, sorted(past.items)
    tally = _tally(things, programme, past)
    for thing in things:
        rules, at = programme.at(thing["at"]), thing["at"]
        while way is not None and ahead and ahead[0].known_from <= at:
            way.add(ahead.pop(0))
        if way is not None:
            way.walk(at)
        sale, own = thing["kind"] == "sale" and "event_id" not in thing, lines.get(thing["id"], [])
        reason = _no_earning(thing, rules) if sale else _no_event(thing)
        items = returns.get(thing["id"], []) if sale else []
        for unit in rules.units:
            seen = rules.of(unit.code)
            key = seen.key(thing["id"], "earn")
            occasion = _occasion(thing, sale, way, past.bound.get(key), rules, tally)
            shown = own if sale else [Line(1, "", 1, thing.get("amount") or Decimal(0))]
            earned = earn(shown, seen, occasion) if not reason else Earned(0, {}, Decimal(0))
            said = reason or "+".join(earned.by_rule) or ("nothing_to_earn" if seen.rules else "no_rule")
            details = {"level": occasion.level.code if occasion.level else None, "rules": earned.by_rule} if programme.remembers else None  # fmt: skip
            if sale or earned.points:
                yield _row(seen, thing, "earn", thing["record_id"], earned.points, said, details)
            taken = clawbacks(own, earned, items, seen)
            for item in items:
                yield _row(seen, orders[item.order_id], "clawback", thing["record_id"], -taken[item.order_id], "return")
            if way is not None and ladder is not None and unit.code == programme.measure(ladder).unit:
                new = [Item(max(at, i.occurred_at), at, -taken[i.order_id]) for i in items if taken[i.order_id]]
                ahead = sorted([*ahead, *new])
                if earned.points:
                    way.add(Item(at, at, earned.points))
        if not rules.units and sale:
            yield _row(rules, thing, "earn", thing["record_id"], 0, reason or "no_unit")
        if sale and thing["points_redeemed"]:
            yield from _paid(thing, own, items, orders, programme.of(programme.spends))


def _occasion(
    thing: dict[str, Any], sale: bool, way: Climb | None, bound: dict[str, Any] | None, rules: Programme, tally: Tally
) -> Occasion:
    level: Level | None = way.level if way is not None else None
    if bound is not None and bound.get("level") and way is not None:
        level = next((step for ladder in rules.ladders for step in ladder.levels if step.code == bound["level"]), level)
    granted = frozenset(bound["rules"]) if bound is not None else None
    order = thing["id"] if sale else thing.get("order_id")
    return Occasion(
        thing["at"], "order" if sale else event_name(thing["kind"]), thing.get("source") or "", level, order, thing.get("properties") or {}, tally, granted,
    )  # fmt: skip


def _tally(things: list[dict[str, Any]], programme: Programme, past: Past) -> Tally:
    """What limits have given: by what is not at hand, and by what is and has posted."""
    tally = Tally(defaultdict(int, past.tally.times), defaultdict(int, past.tally.units))
    if not past.bound:
        return tally
    for thing in things:
        rules = programme.at(thing["at"])
        for unit in rules.units:
            bound = past.bound.get(rules.of(unit.code).key(thing["id"], "earn")) or {"rules": {}}
            occasion = Occasion(thing["at"], order_id=thing.get("order_id") or thing["id"])
            for rule in rules.rules:
                if rule.limit is not None and rule.code in bound["rules"]:
                    tally.note(rule.code, period(rule.limit, occasion, rules), bound["rules"][rule.code])
    return tally


def _paid(
    sale: dict[str, Any],
    lines: list[Line],
    items: list[Return],
    orders: Mapping[str, dict[str, Any]],
    programme: Programme,
) -> Iterator[Row]:
    """What the points that an order was paid with post, and what its returns give back of them."""
    reason, amount = ("redeemed_at_till", -sale["points_redeemed"]) if sale["record_id"] else ("nobody", 0)
    yield _row(programme, sale, "redeem", sale["record_id"], amount, reason)
    if sale["record_id"]:
        for name, points in given_back(sale["points_redeemed"], lines, items).items():
            yield _row(programme, orders[name], "restore", sale["record_id"], points, "return")


def _no_earning(order: Mapping[str, object], programme: Programme) -> str | None:
    if order["currency"] != programme.currency and order["record_id"] is not None and order["is_member"]:
        return "other_currency"
    return _no_event(order)


def _no_event(thing: Mapping[str, object]) -> str | None:
    if thing["record_id"] is None:
        return "nobody"
    return None if thing["is_member"] else "anonymous"


def _row(
    programme: Programme, order: Mapping[str, object], kind: str, record: object, amount: int, reason: str,
    details: dict[str, Any] | None = None,
) -> Row:  # fmt: skip
    name = str(order.get("event_id") or order["order_id"])
    event = "event_id" in order
    return (
        programme.key(name, kind), programme.unit, None if event else order["order_id"], None if event else order["original_order_id"],
        record, kind, amount, order["ordered_at"], reason, json.dumps(details, sort_keys=True) if details else None,
    )  # fmt: skip


def sale(
    order: dict[str, Any], lines: list[Line], programme: Programme, past: Past | None = None
) -> tuple[list[Posting], str | None]:
    """What a sale posts the moment it is known, by the keys that the pipeline uses; and why it earns nothing, if so."""
    rows = [
        dict(zip(COLUMNS, row, strict=True))
        for row in targets({order["order_id"]: order}, {order["order_id"]: lines}, programme, past=past)
    ]
    earnings = [row for row in rows if row["kind"] == "earn"]
    reason = None if any(row["amount"] for row in earnings) else next((str(row["reason"]) for row in earnings), None)
    made = [posting({**row, "revision": 0, "difference": row["amount"]}, programme) for row in rows if row["amount"]]
    return made, reason


def posting(row: Mapping[str, Any], programme: Programme) -> Posting:
    """A redemption draws over the customer's accounts; fewer points redeemed than before, and a return, give some back."""
    first, moved, amount = row["revision"] == 0, row["reason"] == "order_moved", row["difference"]
    seen, redeemed, back = programme.of(row["unit"]), row["kind"] == "redeem", None
    if redeemed and amount > 0:
        back = row["posting_key"]
    elif row["kind"] == "restore" and amount > 0:
        back = seen.key(row["original_order_id"], "redeem")
    kept = row["occurred_at"] + timedelta(days=programme.restored_min_days) if row["kind"] == "restore" else None
    details = json.loads(row["details"]) if row.get("details") else None
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
        expires_at=(kept if back else None) if row["kind"] in ("redeem", "restore") else _ends(seen, row, details),
        transaction=None if first else transaction_id(later),
        contra={"redeem": "redeemed", "restore": "redeemed", "opening": "adjusted"}.get(row["kind"], "issued"),
        details=details if row["kind"] == "earn" else None,
        unit=seen.unit,
    )


def _ends(programme: Programme, row: Mapping[str, Any], details: dict[str, Any] | None) -> datetime | None:
    """When what is credited ends, by the version of its time and the level that was held."""
    if row["difference"] <= 0:
        return None
    rules = programme.at(row["occurred_at"])
    named = details.get("level") if details else None
    level = next((step for ladder in rules.ladders for step in ladder.levels if step.code == named), None)
    return first_end(rules, row["occurred_at"], level)
