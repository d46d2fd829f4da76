"""Corrections above the programme's limit: one asks, another decides."""

from typing import Any

import psycopg

from cdp.errors import NotFound
from cdp.loyalty.groups import locked
from cdp.loyalty.operations import Act, Receipt, Refused, adjust
from cdp.store import holds


def ask(store: psycopg.Connection, record: str, amount: int, act: Act, approval_id: str) -> dict[str, Any]:
    """Let a correction wait for a second person."""
    named = {"programme": act.programme.programme, "unit": act.programme.unit}
    holds.ask(store, {"approval_id": approval_id, "record_id": record, "amount": amount, "reason": act.reason, "asked_by": act.actor, "asked_at": act.now, **named})  # fmt: skip
    return _approval(store, approval_id)


def decide(
    store: psycopg.Connection, approval_id: str, approve: bool, act: Act
) -> tuple[dict[str, Any], Receipt | None]:
    """The second person's answer; the correction is posted with it.

    Raises:
        Refused: If it is the one who asked, or it was decided before.
    """
    locked(
        store, [_approval(store, approval_id, lock=False)["record_id"]], act.programme, act.now
    )  # the customer first, as everybody does
    found = _approval(store, approval_id)
    if found["asked_by"] == act.actor:
        raise Refused("whoever asked cannot approve", "let somebody else decide")
    if found["decided_at"] is not None:
        raise Refused("this correction was decided before")
    holds.decide(store, approval_id, act.actor, approve, act.now)
    why = Act(act.programme, f"{found['asked_by']}, approved by {act.actor}", act.now, found["reason"])
    receipt = adjust(store, found["record_id"], found["amount"], why, approval_id) if approve else None
    return _approval(store, approval_id), receipt


def _approval(store: psycopg.Connection, approval_id: str, *, lock: bool = True) -> dict[str, Any]:
    found = holds.approval(store, approval_id, lock=lock)
    if found is None:
        raise NotFound("no correction waits under this id")
    return found
