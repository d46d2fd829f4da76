"""What orders, their returns and events post under a programme: the one rule of pipeline, API and preview."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cdp.loyalty.earning import Occasion, Tally, earn, period
from cdp.loyalty.expiry import first_end
from cdp.loyalty.giving import Plan
from cdp.loyalty.groups import Posting, transaction_id
from cdp.loyalty.ladder import Climb, Item, climb
from cdp.loyalty.plans import PlanEvent, membership
from cdp.loyalty.posting import qualifying
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Earned, Line, Return, clawbacks, given_back
from cdp.loyalty.terms import Level, event_name

COLUMNS = (
    "posting_key", "unit", "order_id", "original_order_id", "record_id", "kind", "amount", "occurred_at", "reason", "details",
)  # fmt: skip
Row = tuple[object, ...]


@dataclass
class Past:
    """What was before, where earning asks for it, by customer.

    Attributes:
        rows: What the ledger issued: legs as `books.issued` reads them. Level and rules of what has posted stand.
        plans: (terms, events) of each subscription.
    """

    rows: Mapping[object, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    plans: Mapping[object, Sequence[tuple[Plan, list[PlanEvent]]]] = field(default_factory=dict)


@dataclass
class _Ladder:
    """Where a customer stands as its things go by, under the version of each moment."""

    items: list[Item] = field(default_factory=list)
    ahead: list[Item] = field(default_factory=list)
    _way: Climb | None = None
    _version: str = ""

    def at(self, rules: Programme, moment: datetime) -> Climb | None:
        """The way up to a moment; None where the version has no ladder."""
        while self.ahead and self.ahead[0].known_from <= moment:
            self.add(self.ahead.pop(0))
        if rules.ladder is None:
            return None
        if self._way is None or self._version != rules.version:
            self._way, self._version = climb(self.items, rules, rules.ladder, moment), rules.version
        self._way.walk(moment)
        return self._way

    def add(self, item: Item) -> None:
        """One item more."""
        self.items.append(item)
        if self._way is not None:
            self._way.add(item)

    def later(self, items: Iterable[Item]) -> None:
        """Items that come to be known later."""
        self.ahead = sorted([*self.ahead, *items])


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
        # an event's name is apart from an order's: both may be called by their source's key
        people[person].append({**event, "at": event["occurred_at"], "id": f"event:{event['event_id']}", "ordered_at": event["occurred_at"]})  # fmt: skip
    for person, things in people.items():
        ordered = sorted(things, key=lambda thing: (thing["at"], thing["id"]))
        yield from _person(
            ordered, lines, returns, orders, programme, before.rows.get(person, ()), before.plans.get(person, ())
        )


def _person(
    things: list[dict[str, Any]], lines: Mapping[str, list[Line]], returns: Mapping[str, list[Return]], orders: Mapping[str, dict[str, Any]],
    programme: Programme, past: Sequence[Mapping[str, Any]], plans: Sequence[tuple[Plan, list[PlanEvent]]],
) -> Iterator[Row]:  # fmt: skip
    """One customer's sales and events, in order of time: each sees the level and the limits that were there before it."""
    remembers, ladder, tally = programme.remembers, _Ladder(), Tally()
    bound = {row["posting_key"]: row["details"] for row in past if row["details"] and row["revision"] == 0}
    if remembers:
        _recall(ladder, tally, things, returns, programme, past)
    for thing in things:
        rules, at, sale = programme.at(thing["at"]), thing["at"], "event_id" not in thing
        way, own = ladder.at(rules, at) if remembers else None, lines.get(thing["id"], [])
        reason = _no_earning(thing, rules) if sale else _no_event(thing)
        if not reason and rules.join == "paid" and not _paying(plans, rules, at):
            reason = "no_plan"
        items = returns.get(thing["id"], []) if sale else []
        for unit in rules.units:
            seen = rules.of(unit.code)
            occasion = _occasion(thing, sale, way, bound.get(seen.key(thing["id"], "earn")), rules, tally)
            if not sale and not _earns(rules, occasion.event, unit.code):
                if any(_earns(version, occasion.event, unit.code) for version in programme.versions):
                    yield _row(seen, thing, "earn", thing["record_id"], 0, reason or "no_rule")
                continue
            shown = own if sale else [Line(1, "", 1, thing.get("amount") or Decimal(0))]
            earned = earn(shown, seen, occasion) if not reason else Earned(0, {}, Decimal(0))
            said = reason or "+".join(earned.by_rule) or ("nothing_to_earn" if seen.rules else "no_rule")
            yield _row(
                seen,
                thing,
                "earn",
                thing["record_id"],
                earned.points,
                said,
                _details(rules, occasion, earned) if remembers else None,
            )
            taken = clawbacks(own, earned, items, seen)
            for item in items:
                yield _row(seen, orders[item.order_id], "clawback", thing["record_id"], -taken[item.order_id], "return")
            if way is not None and unit.code == rules.measured:
                ladder.later(Item(max(at, i.occurred_at), at, -taken[i.order_id]) for i in items if taken[i.order_id])
                if earned.points:
                    ladder.add(Item(at, at, earned.points))
        if not rules.units:
            yield _row(rules, thing, "earn", thing["record_id"], 0, reason or "no_unit")
        if sale and thing["points_redeemed"]:
            yield from _paid(thing, own, items, orders, programme)


def _earns(rules: Programme, event: str, unit: str) -> bool:
    return any(rule.event == event and rule.unit == unit for rule in rules.rules)


def _recall(
    ladder: _Ladder, tally: Tally, things: list[dict[str, Any]], returns: Mapping[str, list[Return]], programme: Programme,
    past: Sequence[Mapping[str, Any]],
) -> None:  # fmt: skip
    """What counts for level and limits and is not at hand (its source forgot it, a channel posted it); what posted keeps its limit."""
    units = {unit.code for version in programme.versions for unit in version.units}
    here = {programme.of(unit).key(thing["id"], "earn") for unit in units for thing in things}
    here |= {
        programme.of(unit).key(item.order_id, "clawback")
        for unit in units
        for thing in things
        for item in returns.get(thing["id"], ())
    }
    elsewhere = [row for row in past if row["posting_key"] not in here]
    ladder.later(qualifying(row for row in elsewhere if row["unit"] == programme.measured))
    for row in past:
        if row["details"] and row["revision"] == 0:
            for rule, when in (row["details"].get("periods") or {}).items():
                tally.note(rule, when, row["details"]["rules"].get(rule, 0))


def _details(rules: Programme, occasion: Occasion, earned: Earned) -> dict[str, Any]:
    """What stands of an earning once it has posted."""
    limited = {rule.code: rule.limit for rule in rules.rules if rule.limit is not None and rule.code in earned.by_rule}
    return {
        "level": occasion.level.code if occasion.level else None,
        "rules": earned.by_rule,
        "periods": {code: period(limit, occasion, rules) for code, limit in limited.items()},
    }


def _paying(plans: Sequence[tuple[Plan, list[PlanEvent]]], rules: Programme, at: datetime) -> bool:
    """Whether a plan was running at a moment."""
    began = [(plan, events) for plan, events in plans if any(event.at <= at for event in events)]
    return any(membership(events, plan, rules, at).open for plan, events in began)


def _occasion(
    thing: dict[str, Any],
    sale: bool,
    way: Climb | None,
    bound: Mapping[str, Any] | None,
    rules: Programme,
    tally: Tally,
) -> Occasion:
    level: Level | None = way.level if way is not None else None
    if bound is not None and bound.get("level") and way is not None:
        level = next((step for ladder in rules.ladders for step in ladder.levels if step.code == bound["level"]), level)
    order = thing["id"] if sale else thing.get("order_id") or thing["id"]
    return Occasion(
        thing["at"], "order" if sale else event_name(thing["kind"]), thing.get("source") or "", level, order, thing.get("properties") or {}, tally,
        bound["rules"] if bound is not None else None,
    )  # fmt: skip


def _paid(
    sale: dict[str, Any],
    lines: list[Line],
    items: list[Return],
    orders: Mapping[str, dict[str, Any]],
    programme: Programme,
) -> Iterator[Row]:
    """What the points that an order was paid with post, and what its returns give back of them."""
    if not programme.spends:
        yield _row(programme, sale, "redeem", sale["record_id"], 0, "nothing_can_be_spent")
        return
    programme = programme.of(programme.spends)
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
    event = "event_id" in order
    name = f"event:{order['event_id']}" if event else str(order["order_id"])
    return (
        programme.key(name, kind), programme.unit, None if event else order["order_id"], None if event else order["original_order_id"],
        record, kind, amount, order["ordered_at"], reason, json.dumps(details, sort_keys=True) if details else None,
    )  # fmt: skip


def sale(
    order: dict[str, Any], lines: list[Line], programme: Programme, past: Past | None = None
) -> tuple[list[Posting], str | None]:
    """What a sale posts the moment it is known, by the keys that the pipeline uses; and why it earns nothing, if so.

    `past` is by the order's `record_id`.
    """
    mine = {order["order_id"]: {**order, "customer_id": order["record_id"]}}
    rows = [
        dict(zip(COLUMNS, row, strict=True)) for row in targets(mine, {order["order_id"]: lines}, programme, past=past)
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
    if all(unit.code != programme.unit for unit in rules.units):
        rules = programme
    named = details.get("level") if details else None
    level = next((step for ladder in rules.ladders for step in ladder.levels if step.code == named), None)
    return first_end(rules, row["occurred_at"], level)
