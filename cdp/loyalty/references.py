"""What the parts of a programme say of one another: every mistake with the place in the file it stands at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdp.loyalty.programme import Programme

Place = tuple[str | int, ...]
Named = tuple[Place, str, str, Iterable[str], set[str]]
LISTS = ("units", "measures", "ladders", "rules", "plans", "benefits", "rewards", "coupons")


def problems(programme: Programme) -> Iterator[tuple[Place, str]]:
    """(place, what is wrong) of all that does not fit together."""
    yield from _twice(programme)
    for place, where, what, used, known in _named(programme):
        if missing := sorted(set(used) - known):
            yield (
                place,
                f"{where}: unknown {what} {', '.join(missing)}, expected one of {', '.join(sorted(known)) or 'none'}",
            )
    yield from _together(programme)


def _twice(programme: Programme) -> Iterator[tuple[Place, str]]:
    for name in LISTS:
        seen: set[str] = set()
        for number, part in enumerate(getattr(programme, name)):
            if part.code in seen:
                yield (name, number), f"{name[:-1]} {part.code} stands twice"
            seen.add(part.code)


def _named(programme: Programme) -> Iterator[Named]:
    """(place, of what, what is named, the names, what there is)."""

    def of(parts: Iterable[Any]) -> set[str]:
        return {part.code for part in parts}

    units, measures, benefits = of(programme.units), of(programme.measures), of(programme.benefits)
    levels = {level.code for ladder in programme.ladders for level in ladder.levels}
    kinds = {"earn", "redeem", "adjust"} | of(programme.rules)
    for i, unit in enumerate(programme.units):
        yield (
            ("units", i, "expiry", "activities"),
            f"unit {unit.code}: activities",
            "kind of entry or rule",
            unit.expiry.activities,
            kinds,
        )
    for i, measure in enumerate(programme.measures):
        yield ("measures", i, "unit"), f"measure {measure.code}", "unit", [measure.unit], units
    for i, ladder in enumerate(programme.ladders):
        yield ("ladders", i, "measure"), f"ladder {ladder.code}", "measure", [ladder.measure], measures
        for j, level in enumerate(ladder.levels):
            yield ("ladders", i, "levels", j, "benefits"), f"level {level.code}", "benefit", level.benefits, benefits
            yield ("ladders", i, "levels", j, "expiry"), f"level {level.code}", "unit", level.expiry, units
    for i, rule in enumerate(programme.rules):
        yield ("rules", i, "unit"), f"rule {rule.code}", "unit", [rule.unit], units
        yield ("rules", i, "where", "level"), f"rule {rule.code}", "level", rule.where.level, levels
    for i, plan in enumerate(programme.plans):
        yield ("plans", i, "benefits"), f"plan {plan.code}", "benefit", plan.benefits, benefits
    spendable = {unit.code for unit in programme.units if unit.redeemable}
    for i, reward in enumerate(programme.rewards):
        yield ("rewards", i, "cost"), f"reward {reward.code}", "unit", reward.cost, spendable
        yield (
            ("rewards", i, "min_level"),
            f"reward {reward.code}",
            "level",
            [reward.min_level] if reward.min_level else [],
            levels,
        )
    for i, coupon in enumerate(programme.coupons):
        yield (
            ("coupons", i, "min_level"),
            f"coupon {coupon.code}",
            "level",
            [coupon.min_level] if coupon.min_level else [],
            levels,
        )
    if programme.referral is not None:
        yield ("referral", "unit"), "referral", "unit", [programme.referral.unit], units


def _together(programme: Programme) -> Iterator[tuple[Place, str]]:
    """Parts that are right by themselves and cannot go together."""
    ends = [(u, e) for ladder in programme.ladders for level in ladder.levels for u, e in level.expiry.items()]
    if not programme.ladders:
        for i, rule in enumerate(programme.rules):
            if rule.by_tier or rule.where.level:
                yield ("rules", i), f"rule {rule.code}: asks for a level and there is no ladder"
    if len(programme.ladders) > 1:
        yield ("ladders", 1), "one ladder decides the level: put what a second one would give into benefits of plans"
    if programme.household.mode == "pool_units" and any(e.binding == "live" for _, e in ends):
        yield (
            ("household", "mode"),
            "pool_units and an expiry with binding live cannot go together: whose level would count?",
        )
    fixed = {u for u, e in ends if e.binding == "at_earn"}
    for i, unit in enumerate(programme.units):
        if unit.code in fixed and (unit.expiry.mode == "inactivity" or unit.expiry.extend_by):
            yield (
                ("units", i, "expiry"),
                f"unit {unit.code}: a level's own end (binding at_earn) and one that activity moves cannot go together",
            )
    if programme.join == "paid" and not programme.plans:
        yield ("join",), "join: paid needs a plan"
