"""What a programme gives besides units: rewards, coupons, benefits. Each in the caller's transaction, under its customer's lock."""

import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg

from cdp.errors import NotFound
from cdp.loyalty import circles, operations, recall, subscriptions
from cdp.loyalty.entitlements import entitlements
from cdp.loyalty.giving import Coupon
from cdp.loyalty.groups import locked
from cdp.loyalty.lots import NAMESPACE
from cdp.loyalty.operations import Act, Refused
from cdp.store import grants, ledger

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: nothing that is read as something else
LENGTH = 16


class Gone(Refused):
    """Nothing is left of a limited offer."""

    title = "Nothing left"


@dataclass(frozen=True)
class Taken:
    """A grant, and what it cost in each unit."""

    grant: dict[str, Any]
    cost: dict[str, int]


def take_reward(
    store: psycopg.Connection, record: str, code: str, act: Act, grant_id: str, order_id: str | None = None
) -> Taken:
    """Spend units on a reward: the level, the stock and the balance are looked at under one lock.

    Raises:
        NotFound: If the programme has no such reward.
        Refused: If the level is too low, it was taken before and is given once, or none is left.
        Insufficient: If there are not units enough.
    """
    reward = next((r for r in act.programme.rewards if r.code == code), None)
    if reward is None:
        raise NotFound("this programme has no such reward")
    records = _locked(store, record, act)
    if (known := grants.find(store, grant_id)) is not None:
        return Taken(_same(known, records, "reward", code), known["cost"])
    _members(store, records, act)
    if reward.min_level is not None:
        _reaches(store, records, reward.min_level, act)
    name = act.programme.programme
    if reward.once and any(g["offer"] == code for g in grants.of_records(store, records, name, "reward")):
        raise Refused("this reward is given once to a customer")
    if reward.stock is not None and not grants.take(store, name, "reward", code, reward.stock):
        raise Gone("this reward is gone")
    cost = {unit: act.programme.of(unit).parts(amount) for unit, amount in reward.cost.items()}
    for unit, amount in cost.items():
        seen = replace(act, programme=act.programme.of(unit), reason=f"reward {code}")
        operations.redeem(store, record, amount, seen, _spent(grant_id, unit), key=f"reward|{grant_id}|{unit}")
    counted = reward.stock is not None
    return Taken(
        _add(store, record, "reward", code, act, grant_id, order_id=order_id, cost=cost, counted=counted), cost
    )


def issue_coupon(store: psycopg.Connection, record: str, code: str, act: Act, grant_id: str) -> dict[str, Any]:
    """Issue a coupon with a code of its own, within its budget and the customer's limit.

    Raises:
        NotFound: If the programme has no such coupon.
        Refused: If the level is too low, the customer has had enough of it, or the budget is used up.
    """
    coupon = _coupon(act, code)
    records = _locked(store, record, act)
    if (known := grants.find(store, grant_id)) is not None:
        return _same(known, records, "coupon", code)
    _members(store, records, act)
    if coupon.min_level is not None:
        _reaches(store, records, coupon.min_level, act)
    name = act.programme.programme
    held = [g for g in grants.of_records(store, records, name, "coupon") if g["offer"] == code]
    if len(held) >= coupon.per_customer:
        raise Refused(f"this coupon is given {coupon.per_customer} times to a customer at most")
    if coupon.budget is not None and not grants.take(store, name, "coupon", code, coupon.budget):
        raise Gone("the budget of this coupon is used up")
    secret = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    ends = coupon.valid.after(act.now, act.programme.zone)
    return _add(
        store, record, "coupon", code, act, grant_id, secret=secret, expires_at=ends, counted=coupon.budget is not None
    )


def redeem_coupon(store: psycopg.Connection, secret: str, order_id: str, act: Act) -> dict[str, Any]:
    """Use a coupon for an order; the same order again changes nothing.

    Raises:
        NotFound: If no coupon has this code.
        Refused: If it was used for another order, has ended, or was taken back.
    """
    text = typed(secret)
    found = grants.by_code(store, text)
    if found is None:
        raise NotFound("no coupon has this code")
    _locked(store, found["record_id"], act)
    found = grants.by_code(store, text)
    assert found is not None
    if found["used_at"] is not None and found["order_id"] == order_id:
        return found
    if found["undone_at"] is not None or found["used_at"] is not None:
        raise Refused("this coupon was used before" if found["used_at"] else "this coupon was taken back")
    if found["expires_at"] is not None and found["expires_at"] <= act.now:
        raise Refused(f"this coupon ended at {found['expires_at'].isoformat()}")
    grants.use(store, found["grant_id"], order_id, act.now)
    return {**found, "used_at": act.now, "order_id": order_id}


def typed(secret: str) -> str:
    """A coupon's secret as it is kept, from what somebody typed."""
    return (
        secret.strip().upper().replace("-", "").replace(" ", "").replace("O", "0").replace("I", "1").replace("L", "1")
    )


def use_benefit(
    store: psycopg.Connection, record: str, code: str, act: Act, grant_id: str, order_id: str | None = None
) -> dict[str, Any]:
    """Use a benefit that the customer has now, within its quota.

    Raises:
        Refused: If the customer has no such benefit now, or has used it up.
    """
    records = _locked(store, record, act)
    if (known := grants.find(store, grant_id)) is not None:
        return _same(known, records, "benefit", code)
    circles.hold(store, records, act.programme.programme)
    found = next((e for e in entitlements(store, records, act) if e.benefit == code), None)
    if found is None:
        raise Refused("this customer has no such benefit")
    if not found.available:
        raise Refused(f"this benefit cannot be used now: {found.withheld}")
    return _add(store, record, "benefit", code, act, grant_id, order_id=order_id, used_at=act.now)


def undo(store: psycopg.Connection, grant_id: str, act: Act) -> dict[str, Any]:
    """Take a grant back: a reward's units return to their lots, a used coupon can be used again, an unused one is withdrawn.

    Raises:
        NotFound: If there is none.
        Refused: If it was taken back before.
    """
    found = grants.find(store, grant_id)
    if found is None:
        raise NotFound("nothing was given under this id")
    _locked(store, found["record_id"], act)
    found = grants.find(store, grant_id)
    assert found is not None
    if found["undone_at"] is not None:
        raise Refused("this was taken back before")
    if found["kind"] == "coupon" and found["used_at"] is not None:
        grants.use(store, grant_id, None, None)
        return {**found, "used_at": None, "order_id": None}
    if found["kind"] == "reward":
        for unit in found["cost"]:
            operations.reverse(
                store, _spent(grant_id, unit), replace(act, programme=act.programme.of(unit)), of_grant=True
            )
    grants.undo(store, grant_id, act.now)
    if found["counted"]:
        grants.put_back(store, found["programme"], found["kind"], found["offer"])
    return {**found, "undone_at": act.now}


def _members(store: psycopg.Connection, records: list[str], act: Act) -> None:
    """In a programme that is joined by paying, refuse who has not."""
    if act.programme.join == "paid" and not subscriptions.running(store, records, act):
        raise Refused("this is for members", "a plan has to be running")


def _coupon(act: Act, code: str) -> Coupon:
    for coupon in act.programme.coupons:
        if coupon.code == code:
            return coupon
    raise NotFound("this programme has no such coupon")


def _reaches(store: psycopg.Connection, records: list[str], level: str, act: Act) -> None:
    """Refuse who has not reached a level."""
    way = recall.way(store, records, act.programme, act.now)
    order = [step.code for step in way.ladder.levels] if way else []
    if way is None or level not in order or way.height < order.index(level):
        raise Refused(f"this is for {level} and above")


def _locked(store: psycopg.Connection, record: str, act: Act) -> list[str]:
    """All records of a record's customer, locked with whoever shares units with it."""
    if act.programme.unit:
        return locked(store, [record], act.programme, act.now)[record].own(record)
    return ledger.lock(store, [record], act.programme.programme, act.programme.unit)[0][0].records


def _same(known: dict[str, Any], records: list[str], kind: str, offer: str) -> dict[str, Any]:
    if known["record_id"] not in records or (known["kind"], known["offer"]) != (kind, offer):
        raise Refused("this id was used for something else", "make a new id for every operation")
    return known


def _spent(grant_id: str, unit: str) -> str:
    """The transaction of what a reward costs."""
    return str(uuid.uuid5(NAMESPACE, f"reward#{grant_id}#{unit}"))


def _add(
    store: psycopg.Connection, record: str, kind: str, offer: str, act: Act, grant_id: str, *, order_id: str | None = None,
    secret: str | None = None, expires_at: datetime | None = None, used_at: datetime | None = None,
    cost: dict[str, int] | None = None, counted: bool = False,
) -> dict[str, Any]:  # fmt: skip
    row = {
        "grant_id": grant_id, "record_id": record, "programme": act.programme.programme, "kind": kind, "offer": offer, "at": act.now,
        "expires_at": expires_at, "code": secret, "order_id": order_id, "used_at": used_at, "reason": act.reason, "actor": act.actor, "cost": cost or {}, "counted": counted,
    }  # fmt: skip
    grants.add(store, row)
    return {**row, "undone_at": None}
