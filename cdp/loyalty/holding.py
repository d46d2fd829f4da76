"""Points set aside for a moment: held, captured in part or whole, given up, or ended by time alone."""

import uuid
from datetime import timedelta
from typing import Any

import psycopg

from cdp.errors import NotFound
from cdp.loyalty import guards
from cdp.loyalty.groups import Group, Posting, locked
from cdp.loyalty.lots import NAMESPACE
from cdp.loyalty.operations import Act, Receipt, Refused, Standing, needs, post_one, spendable, standing, tell
from cdp.store import holds, ledger


def hold(
    store: psycopg.Connection,
    record: str,
    amount: int,
    act: Act,
    hold_id: str,
    minutes: int,
    order_id: str | None = None,
) -> tuple[dict[str, Any], Standing]:
    """Set points aside until a time; they cannot be spent elsewhere meanwhile.

    Raises:
        Insufficient: If less is available.
    """
    group = locked(store, [record], act.programme, act.now)[record]
    if (known := holds.find(store, hold_id)) is not None:
        return known, standing(store, group, act)
    spendable(act)
    guards.spending(
        store, [account.account_id for account in group.accounts], list(group.records), amount, act.programme, act.now
    )
    needs(standing(store, group, act), amount)
    named = {"programme": act.programme.programme, "unit": act.programme.unit}
    times = {"created_at": act.now, "expires_at": act.now + timedelta(minutes=minutes)}
    holds.add(store, {"hold_id": hold_id, "record_id": record, "amount": amount, "order_id": order_id, "reason": act.reason, "actor": act.actor, **named, **times})  # fmt: skip
    ledger.touch(store, group.by_record[record].account_id)
    tell(store, group, act)
    made = holds.find(store, hold_id)
    assert made is not None
    return made, standing(store, locked(store, [record], act.programme, act.now)[record], act)


def capture(store: psycopg.Connection, hold_id: str, amount: int | None, act: Act) -> Receipt:
    """Spend what was set aside, or less of it: the rest is available again. Points spent are those of when they were set aside.

    Raises:
        Refused: If the hold has ended, or less was set aside.
    """
    found, group = _hold(store, hold_id, act)
    amount = found["amount"] if amount is None else amount
    if found["resolution"] == "captured" and found["captured"] == amount:
        return Receipt(_captured(hold_id), -amount, standing(store, group, act), {})
    _still_open(found, act)
    if amount > found["amount"]:
        raise Refused(f"{found['amount']} were set aside, not {amount}", "capture less, or redeem the rest")
    holds.resolve(store, hold_id, "captured", amount, act.now)
    key = act.programme.key(found["order_id"], "redeem") if found["order_id"] else f"capture|{hold_id}"
    posting = Posting(
        key, 0, found["record_id"], "redeem", -amount, found["created_at"], found["reason"], found["order_id"],
        across=True, actor=act.actor, transaction=_captured(hold_id),
    )  # fmt: skip
    return post_one(store, posting, act, needed=0)


def void(store: psycopg.Connection, hold_id: str, act: Act) -> Standing:
    """Give up a hold: what was set aside is available again."""
    found, group = _hold(store, hold_id, act)
    if found["resolution"] != "voided":
        _still_open(found, act, voiding=True)
        holds.resolve(store, hold_id, "voided", 0, act.now)
        ledger.touch(store, group.by_record[found["record_id"]].account_id)
        tell(store, group, act)
    return standing(store, locked(store, [found["record_id"]], act.programme, act.now)[found["record_id"]], act)


def _hold(store: psycopg.Connection, hold_id: str, act: Act) -> tuple[dict[str, Any], Group]:
    """The hold, under the lock of its customer's accounts."""
    found = holds.find(store, hold_id)
    if found is None:
        raise NotFound("no hold has this id")
    group = locked(store, [found["record_id"]], act.programme, act.now)[found["record_id"]]
    again = holds.find(store, hold_id, lock=True)
    assert again is not None
    return again, group


def _still_open(found: dict[str, Any], act: Act, *, voiding: bool = False) -> None:
    if found["resolution"] is not None:
        raise Refused(f"this hold was {found['resolution']} before")
    if found["expires_at"] <= act.now and not voiding:
        raise Refused(f"this hold ended at {found['expires_at'].isoformat()}", "set the points aside again")


def _captured(hold_id: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"capture#{hold_id}"))
