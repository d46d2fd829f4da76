"""Paid plans and circles: begun, paid again, ended; people asked in, joining, leaving."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from fastapi import APIRouter

from api.context import App, Caller, Context, LoyaltyReader, LoyaltyWriter
from api.idempotency import Idempotent
from api.loyalty import acting, allowed, allowed_of, asking, audit, ours
from api.offers_schemas import Begin, Circle, Invite, Join, Pay, Stop, Subscription, Subscriptions
from api.problems import responses
from cdp.errors import NotFound
from cdp.loyalty import circles, subscriptions
from cdp.store import assignment, customers, plans

router = APIRouter(prefix="/v1", tags=["loyalty"])
READS = responses(401, 403, 404, 422, 503)
WRITES = responses(400, 401, 403, 404, 409, 422, 503)


@router.get("/customers/{customer_id}/loyalty/plans", responses=READS)
def get_plans(customer_id: UUID, app: App, caller: LoyaltyReader) -> Subscriptions:
    """All subscriptions of the customer and how they stand."""
    with app.store() as store:
        living = allowed(app, caller, store, customer_id)
        found = subscriptions.standing(store, assignment.records(store, [living]), acting(app, caller, "read"))
    return Subscriptions(customer_id=living, subscriptions=[_shown(living, one) for one in found])


@router.post("/customers/{customer_id}/loyalty/plans", status_code=201, responses=WRITES)
def begin(customer_id: UUID, asked: Begin, app: App, caller: LoyaltyWriter, once: Idempotent) -> Subscription:
    """Begin a plan: paid, or as a trial, which a customer has once."""

    def work(store: psycopg.Connection) -> Subscription:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.subscription_id or once.transaction_id(caller))
        done = subscriptions.start(store, record, asked.plan, asked.paid, acting(app, caller, asked.reason), name)
        return _told(app, caller, store, living, "loyalty.plan.begun", done)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/loyalty/plans/{subscription_id}/renew", responses=WRITES)
def renew(subscription_id: UUID, asked: Pay, app: App, caller: LoyaltyWriter, once: Idempotent) -> Subscription:
    """A payment came: one period more."""

    def work(store: psycopg.Connection) -> Subscription:
        living = _whose(app, caller, store, subscription_id)
        act = acting(app, caller, asked.reason)
        done = subscriptions.renew(store, str(subscription_id), asked.paid, act, once.transaction_id(caller))
        return _told(app, caller, store, living, "loyalty.plan.renewed", done)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.post("/loyalty/plans/{subscription_id}/cancel", responses=WRITES)
def cancel(subscription_id: UUID, asked: Stop, app: App, caller: LoyaltyWriter, once: Idempotent) -> Subscription:
    """It is not renewed; what is paid can be used to its end."""

    def work(store: psycopg.Connection) -> Subscription:
        living = _whose(app, caller, store, subscription_id)
        done = subscriptions.cancel(
            store, str(subscription_id), acting(app, caller, asked.reason), once.transaction_id(caller)
        )
        return _told(app, caller, store, living, "loyalty.plan.cancelled", done)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.post("/loyalty/plans/{subscription_id}/refund", responses=WRITES)
def refund(subscription_id: UUID, asked: Stop, app: App, caller: LoyaltyWriter, once: Idempotent) -> Subscription:
    """End it at once, for everybody who shares it, and say what is to be paid back."""

    def work(store: psycopg.Connection) -> Subscription:
        living = _whose(app, caller, store, subscription_id)
        act = acting(app, caller, asked.reason)
        done, back = subscriptions.refund(store, str(subscription_id), act, once.transaction_id(caller))
        return _told(app, caller, store, living, "loyalty.plan.refunded", done, back)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.get("/customers/{customer_id}/loyalty/circle", responses=READS)
def get_circle(customer_id: UUID, app: App, caller: LoyaltyReader) -> Circle:
    """Who shares with this customer, and who is invited."""
    with app.store() as store:
        living = allowed(app, caller, store, customer_id)
        found = circles.of(store, assignment.records(store, [living]), app.programme.programme)
    return _circle(app, found)


@router.post("/customers/{customer_id}/loyalty/circle/invite", status_code=201, responses=WRITES)
def invite(customer_id: UUID, asked: Invite, app: App, caller: LoyaltyWriter, once: Idempotent) -> Circle:
    """Ask another customer in; nothing is shared before they accept."""

    def work(store: psycopg.Connection) -> Circle:
        other = customers.oldest_record(store, allowed(app, caller, store, asked.customer_id))
        living = allowed(app, caller, store, customer_id)
        record = asked.record_id or customers.oldest_record(store, living)
        if other is None or record is None or not customers.holds(store, living, record):
            raise NotFound("this customer has no such record")
        done = circles.invite(store, record, other, acting(app, caller, "circle"), once.transaction_id(caller))
        audit(app, caller, store, living, "loyalty.circle.invited", {"circle": done.circle_id})
        return _circle(app, done)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/customers/{customer_id}/loyalty/circle/accept", responses=WRITES)
def accept(customer_id: UUID, asked: Join, app: App, caller: LoyaltyWriter, once: Idempotent) -> Circle:
    """Say yes to an invitation."""

    def work(store: psycopg.Connection) -> Circle:
        living = allowed(app, caller, store, customer_id)
        record = asked.record_id or customers.oldest_record(store, living)
        if record is None or not customers.holds(store, living, record):
            raise NotFound("this customer has no such record")
        done = circles.accept(store, record, acting(app, caller, "circle"), once.transaction_id(caller))
        audit(app, caller, store, living, "loyalty.circle.joined", {"circle": done.circle_id})
        return _circle(app, done)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.post("/customers/{customer_id}/loyalty/circle/leave", responses=WRITES)
def leave(customer_id: UUID, asked: Join, app: App, caller: LoyaltyWriter, once: Idempotent) -> Circle:
    """Leave, or say no: what each has earned stays their own."""

    def work(store: psycopg.Connection) -> Circle:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        circles.leave(store, record, acting(app, caller, "circle"), once.transaction_id(caller))
        audit(app, caller, store, living, "loyalty.circle.left", {})
        return _circle(app, None)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


def _whose(app: Context, caller: Caller, store: psycopg.Connection, subscription_id: UUID) -> str:
    found = plans.find(store, str(subscription_id))
    living = allowed_of(app, caller, store, found[0] if found else None, "no subscription has this id")
    assert found is not None
    return ours(app, store, living, found[0])  # before the clock is read


def _told(
    app: Context, caller: Caller, store: psycopg.Connection, living: str, action: str, done: subscriptions.Subscription, back: Decimal | None = None
) -> Subscription:  # fmt: skip
    audit(app, caller, store, living, action, {"subscription": done.subscription_id, "plan": done.membership.plan})
    return _shown(living, done, back)


def _shown(living: str, done: subscriptions.Subscription, back: Decimal | None = None) -> Subscription:
    held: dict[str, Any] = {
        name: getattr(done.membership, name) for name in ("plan", "status", "since", "until", "renews")
    }
    return Subscription.model_validate(
        {"subscription_id": done.subscription_id, "customer_id": living, "refunded": back, **held}
    )


def _circle(app: Context, found: circles.Circle | None) -> Circle:
    mode = app.programme.household.mode
    if found is None:
        return Circle(circle_id=None, members=[], invited=[], shares=mode)
    return Circle(circle_id=found.circle_id, members=list(found.members), invited=list(found.invited), shares=mode)
