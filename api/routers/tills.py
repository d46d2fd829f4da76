"""Tills that are offline: what they may spend, what they did, and what became of it."""

from uuid import UUID

import psycopg
from fastapi import APIRouter

from api.context import App, Caller, Context, LoyaltyReader, LoyaltyWriter
from api.idempotency import Idempotent
from api.loyalty import acting, allowed_of, asking, audit
from api.offers_schemas import Allowance, Ask, Batch, Outcome, Settled
from api.problems import Forbidden, responses
from cdp.errors import NotFound
from cdp.loyalty import tills
from cdp.store import assignment
from cdp.store import tills as kept

router = APIRouter(prefix="/v1", tags=["loyalty"])
READS = responses(401, 403, 404, 422, 503)
WRITES = responses(400, 401, 403, 404, 409, 422, 503)


@router.post("/customers/{customer_id}/loyalty/allowances", status_code=201, responses=WRITES)
def allow(customer_id: UUID, asked: Ask, app: App, caller: LoyaltyWriter, once: Idempotent) -> Allowance:
    """What a till may spend for this customer while it is offline: signed, limited, not reserved."""

    def work(store: psycopg.Connection) -> Allowance:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.allowance_id or once.transaction_id(caller))
        act = acting(app, caller, "allowance", asked.unit)
        row, signed = tills.allow(store, record, asked.till, asked.points, asked.hours, act, app.pepper, name)
        audit(app, caller, store, living, "loyalty.allowance", {"allowance": name, "points": asked.points})
        shown = {"till": row["till"], "unit": row["unit"], "points": row["amount"], "expires_at": row["expires_at"]}
        return Allowance.model_validate({"allowance_id": name, "customer_id": living, "signed": signed, **shown})

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/loyalty/tills/settle", responses=WRITES)
def settle(asked: Batch, app: App, caller: LoyaltyWriter, once: Idempotent) -> Settled:
    """Post what a till did while it was offline. Whichever till comes back first, the end is the same; what is refused says why."""

    def work(store: psycopg.Connection) -> Settled:
        spent = [
            tills.Spent(str(t.transaction_id), t.allowance, t.points, t.at, t.order_id) for t in asked.transactions
        ]
        done = tills.settle(store, asked.till, spent, acting(app, caller, "till"), app.pepper)
        return Settled(till=asked.till, transactions=[_told(app, caller, store, one) for one in done])

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.get("/loyalty/tills/transactions/{transaction_id}", responses=READS)
def explain(transaction_id: UUID, app: App, caller: LoyaltyReader) -> Outcome:
    """What became of something a till did offline, by all that is known now: another till may have come back since."""
    with app.store() as store:
        found = kept.spend(store, str(transaction_id))
        allowed_of(app, caller, store, found["record_id"] if found else None, "no till did this")
        return Outcome.model_validate(vars(tills.explain(store, str(transaction_id))))


def _told(app: Context, caller: Caller, store: psycopg.Connection, one: tills.Settled) -> Outcome:
    """What became of it, noted in the audit log. What a till did has posted; whom the purpose may not see is not told of."""
    row = kept.spend(store, one.transaction_id)
    if one.status == "refused" or row is None:
        return Outcome.model_validate(vars(one))
    living = assignment.customer(store, [row["record_id"]])
    if living is None:
        raise NotFound("this allowance is of nobody any more")
    audit(app, caller, store, living, "loyalty.till.settled", {"transaction": one.transaction_id, "points": one.points})
    try:
        allowed_of(app, caller, store, row["record_id"], "this allowance is of nobody any more")
    except Forbidden:
        kept_back = {
            "status": "settled",
            "covered": 0,
            "owed": 0,
            "because": [],
            "explanation": "withheld for this purpose",
        }
        return Outcome.model_validate({**vars(one), **kept_back})
    return Outcome.model_validate(vars(one))
