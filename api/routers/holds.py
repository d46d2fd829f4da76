"""Points set aside for a checkout: held, captured, given up."""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from fastapi import APIRouter

from api.context import App, Caller, Context, LoyaltyReader, LoyaltyWriter
from api.idempotency import Idempotent
from api.loyalty import acting, allowed_of, asking, audit, ours, receipt, standing_of
from api.loyalty_schemas import Capture, Hold, Receipt, SetAside
from api.problems import responses
from cdp.loyalty import holding, operations
from cdp.loyalty.operations import Refused, Standing
from cdp.store import holds

router = APIRouter(prefix="/v1", tags=["loyalty"])
READS = responses(401, 403, 404, 422, 503)
WRITES = responses(400, 401, 403, 404, 409, 422, 429, 503)


@router.post("/customers/{customer_id}/loyalty/holds", status_code=201, responses=WRITES)
def hold(customer_id: UUID, asked: SetAside, app: App, caller: LoyaltyWriter, once: Idempotent) -> Hold:
    """Set points aside for a checkout: nobody else can spend them until the hold is captured, voided or ends by itself."""

    def work(store: psycopg.Connection) -> Hold:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        act = acting(app, caller, asked.reason, asked.unit)
        name = str(asked.hold_id or once.transaction_id(caller))
        made, stands = holding.hold(
            store, record, asked.points, act, name, asked.minutes or app.programme.hold_minutes, asked.order_id
        )
        if (made["record_id"], made["amount"]) != (record, asked.points):
            raise Refused("this id was used for something else", "make a new id for every hold")
        audit(app, caller, store, living, "loyalty.hold", {"hold": name, "points": asked.points})
        return _hold(living, made, stands, act.now)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.get("/loyalty/holds/{hold_id}", responses=READS)
def get_hold(hold_id: UUID, app: App, caller: LoyaltyReader) -> Hold:
    """A hold and what became of it."""
    with app.store() as store:
        living, found = _held(app, caller, store, hold_id, reading=True)
        act = acting(app, caller, "read", found["unit"])
        _, stands = operations.read(store, living, act)
    return _hold(living, found, stands, act.now)


@router.post("/loyalty/holds/{hold_id}/capture", responses=WRITES)
def capture(hold_id: UUID, asked: Capture, app: App, caller: LoyaltyWriter, once: Idempotent) -> Receipt:
    """Spend what was set aside, or less: the rest is available again."""

    def work(store: psycopg.Connection) -> Receipt:
        living, found = _held(app, caller, store, hold_id)
        done = holding.capture(store, str(hold_id), asked.points, acting(app, caller, found["reason"], found["unit"]))
        return receipt(app, caller, store, living, "loyalty.capture", done)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.post("/loyalty/holds/{hold_id}/void", responses=WRITES)
def void(hold_id: UUID, app: App, caller: LoyaltyWriter, once: Idempotent) -> Hold:
    """Give up a hold."""

    def work(store: psycopg.Connection) -> Hold:
        living, found = _held(app, caller, store, hold_id)
        act = acting(app, caller, found["reason"], found["unit"])
        stands = holding.void(store, str(hold_id), act)
        audit(app, caller, store, living, "loyalty.void", {"hold": str(hold_id)})
        return _hold(living, _held(app, caller, store, hold_id)[1], stands, act.now)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


def _held(
    app: Context, caller: Caller, store: psycopg.Connection, hold_id: UUID, *, reading: bool = False
) -> tuple[str, dict[str, Any]]:
    found = holds.find(store, str(hold_id))
    living = allowed_of(app, caller, store, found["record_id"] if found else None, "no hold has this id")
    assert found is not None
    return living if reading else ours(app, store, living, found["record_id"]), found


def _hold(living: str, row: dict[str, Any], stands: Standing, now: datetime) -> Hold:
    status = row["resolution"] or ("ended" if row["expires_at"] <= now else "open")
    return Hold.model_validate(
        {"customer_id": living, "hold_id": row["hold_id"], "points": row["amount"], "status": status, "captured": row["captured"],
         "expires_at": row["expires_at"], **standing_of(stands)}
    )  # fmt: skip
