"""What a customer may use now, why, until when, and how often still."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import psycopg

from cdp.loyalty import circles, recall, subscriptions
from cdp.loyalty.giving import Benefit
from cdp.loyalty.ladder import standing
from cdp.loyalty.operations import Act
from cdp.loyalty.programme import Programme
from cdp.store import assignment, customers, grants


@dataclass(frozen=True)
class Entitlement:
    """A benefit of a customer.

    Attributes:
        because: `level gold`, `plan annual`, or `shared annual`: the first that gives it.
        until: When that ends if nothing changes.
        available: Whether it can be used now; else `withheld` says why not.
        left: How often still within its quota.
    """

    benefit: str
    kind: str
    value: str | None
    because: str
    until: datetime | None
    available: bool
    withheld: str | None
    left: int | None


def entitlements(store: psycopg.Connection, records: list[str], act: Act) -> list[Entitlement]:
    """All benefits of the customer with these records, by the level, its own plan, and what others share with it."""
    terms = {benefit.code: benefit for benefit in act.programme.benefits}
    uses = [(row["offer"], row["at"]) for row in grants.of_records(store, records, act.programme.programme, "benefit")]
    found: dict[str, Entitlement] = {}
    for code, because, until in _sources(store, records, act):
        if code in terms and code not in found:
            found[code] = _one(store, records, terms[code], because, until, uses, act)
    return list(found.values())


def _sources(store: psycopg.Connection, records: list[str], act: Act) -> Iterator[tuple[str, str, datetime | None]]:
    """(benefit, because, until) of everything that gives one."""
    plans = {plan.code: plan for version in act.programme.versions for plan in version.plans}
    for held in subscriptions.standing(store, records, act):
        if held.membership.open:
            for code in plans[held.membership.plan].benefits:
                yield code, f"plan {held.membership.plan}", None if held.membership.renews else held.membership.until
    circle = circles.of(store, records, act.programme.programme) if act.programme.household.mode != "none" else None
    if circle is not None and set(records) & set(circle.records):
        for other in circle.members:
            theirs = [r for r in assignment.records(store, [other]) if r not in records]
            for held in subscriptions.standing(store, theirs, act):
                plan = plans[held.membership.plan]
                # of more members than the plan is shared with, those that came first share it
                sharing = [member for member in circle.members if member != other][: plan.share_with]
                if held.membership.open and assignment.customer(store, records) in sharing:
                    for code in plan.benefits:
                        yield code, f"shared {plan.code}", None if held.membership.renews else held.membership.until
    if act.programme.join == "paid" and not subscriptions.running(store, records, act):
        return
    way = recall.way(store, records, act.programme, act.now)
    if way is not None:
        level = standing(way)
        for code in way.level.benefits:
            yield code, f"level {level.tier}", level.holds_until


def _one(
    store: psycopg.Connection, records: list[str], benefit: Benefit, because: str, until: datetime | None,
    uses: list[tuple[str, datetime]], act: Act,
) -> Entitlement:  # fmt: skip
    withheld, left, zone = None, None, act.programme.zone
    used = [at for offer, at in uses if offer == benefit.code]
    if benefit.quota is not None:
        per = benefit.quota.per
        left = max(0, benefit.quota.times - sum(1 for at in used if per.after(at, zone) > act.now))
        withheld = None if left else "used_up"
    if benefit.kind == "birthday":
        opened = birthday_window(customers.birth_date(store, records), benefit, act.programme, act.now)
        if opened is None:
            withheld = "not_within_the_window"
        elif any(at >= opened for at in used):
            withheld, left = "used_up", 0
    return Entitlement(
        benefit.code, benefit.kind, benefit.value, because, None if benefit.kind == "birthday" else until,
        withheld is None, withheld, left,
    )  # fmt: skip


def birthday_window(born: date | None, benefit: Benefit, programme: Programme, now: datetime) -> datetime | None:
    """The local midnight of the birthday whose window holds now; None outside of it, or where the date is unknown."""
    if born is None or benefit.window is None:
        return None
    zone = programme.zone
    local = now.astimezone(zone)
    for year in (local.year, local.year - 1):
        try:
            day = datetime(year, born.month, born.day, tzinfo=zone)
        except ValueError:  # born on 29 February
            day = datetime(year, 2, 28, tzinfo=zone)
        if day <= local < benefit.window.after(day, zone):
            return day
    return None
