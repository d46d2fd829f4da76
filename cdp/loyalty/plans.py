"""Paid plans: what a subscription's events make of it at a moment. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from cdp.loyalty.giving import Plan
from cdp.loyalty.programme import Programme

CENT = Decimal("0.01")


@dataclass(frozen=True, order=True)
class PlanEvent:
    """What happened to a subscription; `amount` was paid, negative if given back."""

    at: datetime
    kind: Literal["start", "renew", "cancel", "refund"]
    amount: Decimal = Decimal(0)


@dataclass(frozen=True)
class Membership:
    """How a subscription stands.

    Attributes:
        status: `trial`, `active`, `lapsed` (the time ran out) or `refunded`.
        until: When what was paid, or the trial, ends or ended.
        renews: Whether a payment is expected then.
        period_began: When the period that is paid last began.
        paid: What was paid for that period.
    """

    plan: str
    status: Literal["trial", "active", "lapsed", "refunded"]
    since: datetime
    until: datetime
    renews: bool
    period_began: datetime
    paid: Decimal

    @property
    def open(self) -> bool:
        """Whether its benefits can be used."""
        return self.status in ("trial", "active")


def membership(events: Iterable[PlanEvent], plan: Plan, programme: Programme, now: datetime) -> Membership:
    """How a subscription stands at a moment, by what had happened by then.

    A start that was not paid is a trial. A payment covers one period more, from the end of what is covered if it comes
    in time, else from its own moment. A refund ends it at once.

    Args:
        events: Of one subscription, its start among them.
        plan: What was bought.
        programme: For its time zone.
        now: The moment.
    """
    zone, known = programme.zone, sorted(event for event in events if event.at <= now)
    start = known[0]
    paid, began = start.amount, start.at
    trial = not paid and bool(plan.trial)
    until = (plan.trial if trial else plan.every).after(start.at, zone)
    renews, refunded = plan.renews, False
    for event in known[1:]:
        if refunded:
            break
        if event.kind == "renew":
            began = max(until, event.at)
            until, paid, trial, renews = plan.every.after(began, zone), event.amount, False, plan.renews
        elif event.kind == "cancel":
            renews = False
        elif event.kind == "refund":
            refunded, until, renews = True, event.at, False
    trial = trial and now < until
    status: Literal["trial", "active", "lapsed", "refunded"] = (
        "refunded" if refunded else "lapsed" if until <= now else "trial" if trial else "active"
    )
    return Membership(plan.code, status, start.at, until, renews and status in ("trial", "active"), began, paid)


def refundable(held: Membership, plan: Plan, used: bool, now: datetime) -> Decimal:
    """What a refund now gives back of the last payment, to the cent.

    Args:
        held: How the subscription stands.
        plan: Its terms.
        used: Whether a benefit was used since the period began.
        now: The moment.
    """
    if not held.open or not held.paid or plan.refund == "none":
        return Decimal(0)
    if plan.refund == "full_if_unused":
        return Decimal(0) if used else held.paid
    whole = (held.until - held.period_began).total_seconds()
    left = max(0.0, (held.until - max(now, held.period_began)).total_seconds())
    return (held.paid * Decimal(left) / Decimal(whole)).quantize(CENT, ROUND_HALF_EVEN)
