"""Paid plans as channels use them: started, paid again, cancelled, given back. Each in the caller's transaction."""

import uuid
from dataclasses import dataclass
from decimal import Decimal

import psycopg

from cdp.errors import NotFound
from cdp.loyalty import circles
from cdp.loyalty import plans as rules
from cdp.loyalty.giving import Plan
from cdp.loyalty.lots import NAMESPACE
from cdp.loyalty.operations import Act, Refused, tell_about
from cdp.loyalty.plans import Membership, PlanEvent, membership
from cdp.store import assignment, grants, ledger, plans


@dataclass(frozen=True)
class Subscription:
    """One subscription of a customer: its record, and how it stands."""

    subscription_id: str
    record_id: str
    membership: Membership


def standing(store: psycopg.Connection, records: list[str], act: Act) -> list[Subscription]:
    """Every subscription of these records, the newest first."""
    found = []
    for name, (record, code, events) in plans.of_records(store, records, act.programme.programme).items():
        if (plan := _plan(act, code)) is not None and any(event.at <= act.now for event in events):
            found.append(Subscription(name, record, membership(events, plan, act.programme, act.now)))
    return sorted(found, key=lambda s: s.membership.since, reverse=True)


def running(store: psycopg.Connection, records: list[str], act: Act) -> bool:
    """Whether a plan of these records is running, or one that somebody shares with them."""
    if any(held.membership.open for held in standing(store, records, act)):
        return True
    circle = circles.of(store, records, act.programme.programme)
    if circle is None or not set(records) & set(circle.records):
        return False
    return any(held.membership.open for held in standing(store, assignment.records(store, list(circle.members)), act))


def start(
    store: psycopg.Connection, record: str, code: str, paid: Decimal, act: Act, subscription_id: str
) -> Subscription:
    """Begin a plan: paid, or as a trial, which a customer has once.

    Raises:
        NotFound: If the programme has no such plan.
        Refused: If one is running, or a second trial is asked for.
    """
    plan = next((p for p in act.programme.plans if p.code == code), None)
    if plan is None:
        raise NotFound("this programme has no such plan")
    records = _locked(store, record, act)
    before = standing(store, records, act)
    if (known := plans.find(store, subscription_id)) is not None:
        if known[0] not in records or known[1] != code or known[2][0].amount != paid:
            raise Refused("this id was used for something else", "make a new id for every subscription")
        return Subscription(
            subscription_id, known[0], membership(known[2], plan, act.programme, max(act.now, known[2][0].at))
        )
    if any(s.membership.open for s in before):
        raise Refused("a plan is running already", "cancel it, or let it end")
    if not paid and (not plan.trial or before):
        raise Refused("a trial is given once" if plan.trial else "this plan has no trial", f"pay {plan.price} {act.programme.currency}")  # fmt: skip
    _price(paid, plan, act) if paid else None
    return _note(store, subscription_id, record, plan, PlanEvent(act.now, "start", paid), act, subscription_id)


def renew(store: psycopg.Connection, subscription_id: str, paid: Decimal, act: Act, event_id: str) -> Subscription:
    """A payment came: one period more."""
    held, plan = _held(store, subscription_id, act)
    if _refunded(store, subscription_id) is not None:
        raise Refused("this subscription was refunded", "start a new one")
    _price(paid, plan, act)
    return _note(store, subscription_id, held.record_id, plan, PlanEvent(act.now, "renew", paid), act, event_id)


def cancel(store: psycopg.Connection, subscription_id: str, act: Act, event_id: str) -> Subscription:
    """It is not renewed; what is paid can be used to its end."""
    held, plan = _held(store, subscription_id, act)
    if not held.membership.open or not held.membership.renews:
        return held
    return _note(store, subscription_id, held.record_id, plan, PlanEvent(act.now, "cancel"), act, event_id)


def refund(store: psycopg.Connection, subscription_id: str, act: Act, event_id: str) -> tuple[Subscription, Decimal]:
    """End it at once and give back what the plan says, for everybody who shares it.

    Raises:
        Refused: If nothing is to be given back.
    """
    held, plan = _held(store, subscription_id, act)
    if (before := _refunded(store, subscription_id)) is not None:
        return held, before
    circles.hold(store, [held.record_id], act.programme.programme)
    sharing = sorted({*_locked(store, held.record_id, act), *_shared_with(store, held.record_id, act)})
    used = any(
        row["offer"] in plan.benefits and row["at"] >= held.membership.period_began
        for row in grants.of_records(store, sharing, act.programme.programme, "benefit")
    )
    back = rules.refundable(held.membership, plan, used, act.now)
    if not back:
        raise Refused("nothing is given back for this plan now", "cancel it instead")
    event = PlanEvent(act.now, "refund", -back)
    return _note(store, subscription_id, held.record_id, plan, event, act, event_id), back


def _refunded(store: psycopg.Connection, subscription_id: str) -> Decimal | None:
    """What was given back, if it was: whatever a clock says, once is once."""
    found = plans.find(store, subscription_id)
    events = [event for event in found[2] if event.kind == "refund"] if found else []
    return -events[0].amount if events else None


def _shared_with(store: psycopg.Connection, record: str, act: Act) -> list[str]:
    """The records of all who were ever in a circle with this one: who has left may have used it too."""
    rows = plans.circles(store, [record], act.programme.programme)
    return assignment.records(store, sorted({str(row["customer_id"]) for row in rows if row["customer_id"]}))


def _price(paid: Decimal, plan: Plan, act: Act) -> None:
    if paid != plan.price:
        raise Refused(f"{plan.code} costs {plan.price} {act.programme.currency}, not {paid}")


def _plan(act: Act, code: str) -> Plan | None:
    """A plan by its code, in this version or the newest that had it."""
    return next((p for version in (act.programme, *reversed(act.programme.versions)) for p in version.plans if p.code == code), None)  # fmt: skip


def _held(store: psycopg.Connection, subscription_id: str, act: Act) -> tuple[Subscription, Plan]:
    """A subscription and its plan, under the lock of its customer."""
    found = plans.find(store, subscription_id)
    if found is None:
        raise NotFound("no subscription has this id")
    _locked(store, found[0], act)
    found = plans.find(store, subscription_id)
    plan = _plan(act, found[1]) if found else None
    if found is None or plan is None:
        raise NotFound("the programme no longer knows this plan")
    return Subscription(subscription_id, found[0], membership(found[2], plan, act.programme, act.now)), plan


def _locked(store: psycopg.Connection, record: str, act: Act) -> list[str]:
    """All records of a record's customer, locked."""
    return ledger.lock(store, [record], act.programme.programme, act.programme.unit)[0][0].records


def _note(
    store: psycopg.Connection, subscription_id: str, record: str, plan: Plan, event: PlanEvent, act: Act, event_id: str
) -> Subscription:
    name = str(uuid.uuid5(NAMESPACE, f"plan#{event_id}#{event.kind}"))
    added = plans.add(store, {"event_id": name, "subscription_id": subscription_id, "record_id": record, "programme": act.programme.programme, "plan": plan.code, "kind": event.kind, "at": event.at, "amount": event.amount, "reason": act.reason, "actor": act.actor, "posted_at": act.now})  # fmt: skip
    if not added:
        raise Refused("this id was used before", "make a new id for every operation")
    tell_about(store, record, "plan.changed", act.now)
    known = plans.find(store, subscription_id)
    assert known is not None
    return Subscription(subscription_id, record, membership(known[2], plan, act.programme, act.now))
