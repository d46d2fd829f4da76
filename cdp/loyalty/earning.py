"""What an order or an event earns: the programme's rules, applied to what happened. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Earned, Line, allocate
from cdp.loyalty.terms import Level, Limit, Rule

Weights = Mapping[int, Decimal | Fraction | int]  # by line number


@dataclass
class Tally:
    """What rules with a limit have given a customer: (rule, period) → times, and units in their smallest part."""

    times: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    units: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def left(self, rule: Rule, period: str, parts: int) -> int | None:
        """What the rule may still give in a period, in the smallest part, of which a unit has `parts`; None: no end to it."""
        limit = rule.limit
        if limit is None:
            return None
        if limit.times is not None:
            return None if self.times[rule.code, period] < limit.times else 0
        return max(0, (limit.units or 0) * parts - self.units[rule.code, period])

    def note(self, rule: str, period: str, units: int) -> None:
        """The rule gave so much."""
        self.times[rule, period] += 1
        self.units[rule, period] += units


@dataclass(frozen=True)
class Occasion:
    """What the rules ask about besides the lines.

    Attributes:
        level: What the customer holds at that time.
        granted: What each rule gave when it first posted, in the smallest part; None for what is new.
        order_id: The order it is or refers to.
    """

    at: datetime
    event: str = "order"
    source: str = ""
    level: Level | None = None
    order_id: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    tally: Tally | None = None
    granted: Mapping[str, int] | None = None


def period(limit: Limit, occasion: Occasion, programme: Programme) -> str:
    """The name of the period of a limit that an occasion falls into."""
    local = occasion.at.astimezone(programme.zone)
    names = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "year": "%Y"}
    return local.strftime(names[limit.per]) if limit.per in names else str(occasion.order_id) if limit.per == "order" else "ever"  # fmt: skip


def earn(lines: Iterable[Line], programme: Programme, occasion: Occasion) -> Earned:
    """Units of an order or event: what its rules give together, rounded down once, laid on its lines by largest remainder."""
    held, scale = list(lines), 10**programme.terms.scale
    given: list[tuple[Rule, Fraction, Weights]] = []
    for rule in _asked(programme, occasion):
        amount, weights = _gives(rule, held, given)
        if rule.by_tier and occasion.level is not None:
            amount *= Fraction(occasion.level.earn_multiplier)
        if rule.limit is not None and occasion.granted is None and occasion.tally is not None:
            room = occasion.tally.left(rule, period(rule.limit, occasion, programme), scale)
            amount = amount if room is None else min(amount, Fraction(room, scale))
        elif rule.limit is not None and rule.limit.units is not None and occasion.granted is not None:
            amount = min(amount, Fraction(occasion.granted[rule.code], scale))  # what it was limited to stands
        if amount > 0:
            given.append((rule, amount, weights))
            if rule.stack == "stop":
                break
    counted = _stacked(given)
    shares, by_rule = defaultdict[int, Fraction](Fraction), dict[str, int]()
    total, before = Fraction(0), 0
    for rule, amount, weights in counted:
        total += amount
        by_rule[rule.code] = int(total * scale) - before
        before = int(total * scale)
        if len(counted) > 1:
            for line, share in _shares(amount, weights).items():
                shares[line] += share
        if rule.limit is not None and occasion.tally is not None and occasion.granted is None:
            occasion.tally.note(rule.code, period(rule.limit, occasion, programme), by_rule[rule.code])
    points = int(total * scale)
    money = sum((line.amount for line in held if line.sku.upper() not in programme.excluded), Decimal(0))
    laid = counted[0][2] if len(counted) == 1 else shares  # in proportion to the same
    return Earned(points, allocate(points, laid), max(Decimal(0), money), by_rule)


def _asked(programme: Programme, occasion: Occasion) -> list[Rule]:
    """The rules for this unit that hold for what happened, in order of priority; what multiplies others comes after them."""
    found = []
    for rule in programme.rules:
        where = rule.where
        if (
            rule.unit != programme.unit
            or rule.event != occasion.event
            or not rule.active.at(occasion.at, programme.zone)
        ):
            continue
        if occasion.granted is not None and rule.limit is not None and rule.code not in occasion.granted:
            continue
        if where.source and occasion.source not in where.source:
            continue
        if where.level and (occasion.level is None or occasion.level.code not in where.level):
            continue
        # what files carry is text: 5 and "5" are one
        if any(
            str(occasion.properties.get(name)).lower() != str(value).lower() for name, value in where.properties.items()
        ):
            continue
        found.append(rule)
    return sorted(found, key=lambda rule: (rule.times is not None, rule.priority))


def _gives(rule: Rule, lines: list[Line], before: list[tuple[Rule, Fraction, Weights]]) -> tuple[Fraction, Weights]:
    """What a rule gives by itself, and how that lies on the lines."""
    left_out, wanted = {sku.upper() for sku in rule.exclude_skus}, {sku.upper() for sku in rule.where.skus}
    lines = [line for line in lines if line.sku.upper() not in left_out and (not wanted or line.sku.upper() in wanted)]
    money = max(Fraction(0), sum((Fraction(line.amount) for line in lines), Fraction(0)))
    weights = {line.line_no: line.amount for line in lines if line.amount > 0}
    nothing = Fraction(0), dict[int, Fraction]()
    if (wanted and not lines) or (rule.where.amount_from is not None and money < Fraction(rule.where.amount_from)):
        return nothing
    if rule.per_money is not None:
        return money * Fraction(rule.per_money.units) / Fraction(rule.per_money.amount), weights
    if rule.per_item is not None:
        items = {line.line_no: line.quantity for line in lines if line.quantity > 0}
        return Fraction(rule.per_item) * sum(items.values()), items
    if rule.fixed is not None:
        return Fraction(rule.fixed), weights
    assert rule.times is not None
    base = _stacked([entry for entry in before if entry[0].times is None])
    allowed, some = {line.line_no for line in lines}, bool(wanted or left_out)
    shares = defaultdict[int, Fraction](Fraction)
    for _, amount, parts in base:
        for number, share in _shares(amount, parts).items():
            if number in allowed:
                shares[number] += share
    whole = sum(shares.values()) if some else sum((amount for _, amount, _ in base), Fraction(0))
    return (Fraction(rule.times) - 1) * whole, dict(shares)


def _shares(amount: Fraction, weights: Weights) -> dict[int, Fraction]:
    """An amount laid on lines by their weights."""
    exact = {line: Fraction(weight) for line, weight in weights.items()}
    whole = sum(exact.values())
    return {line: amount * weight / whole for line, weight in exact.items()}


def _stacked(
    given: list[tuple[Rule, Fraction, Weights]],
) -> list[tuple[Rule, Fraction, Weights]]:
    """Of the rules that say `best` only the best counts: one among those that give, one among those that multiply."""
    counted = [entry for entry in given if entry[0].stack != "best"]
    for multiplies in (False, True):
        best = [entry for entry in given if entry[0].stack == "best" and (entry[0].times is not None) == multiplies]
        counted += [max(best, key=lambda entry: entry[1])] if best else []
    order = [entry[0].code for entry in given]
    return sorted(counted, key=lambda entry: order.index(entry[0].code))
