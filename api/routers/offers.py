"""What a programme gives besides units: benefits used, rewards taken, coupons issued and redeemed."""

from typing import Any
from uuid import UUID

import psycopg
from fastapi import APIRouter

from api.context import App, Caller, Context, LoyaltyReader, LoyaltyWriter
from api.idempotency import Idempotent
from api.loyalty import acting, allowed, allowed_of, asking, audit
from api.offers_schemas import Entitlements, Grant, Offers, Redeem, Take
from api.problems import responses
from cdp.loyalty import offers, operations, recall
from cdp.loyalty.entitlements import entitlements
from cdp.loyalty.giving import Reward
from cdp.store import assignment, grants

router = APIRouter(prefix="/v1", tags=["loyalty"])
READS = responses(401, 403, 404, 422, 503)
WRITES = responses(400, 401, 403, 404, 409, 422, 429, 503)


@router.get("/customers/{customer_id}/loyalty/entitlements", responses=READS)
def get_entitlements(customer_id: UUID, app: App, caller: LoyaltyReader) -> Entitlements:
    """What the customer may use now, why, until when, and how often still."""
    act = acting(app, caller, "read")
    with app.store() as store:
        living = allowed(app, caller, store, customer_id)
        found = entitlements(store, assignment.records(store, [living]), act)
    return Entitlements.model_validate(
        {"customer_id": living, "as_of": act.now, "entitlements": [vars(one) for one in found]}
    )


@router.post("/customers/{customer_id}/loyalty/benefits", status_code=201, responses=WRITES)
def use_benefit(customer_id: UUID, asked: Take, app: App, caller: LoyaltyWriter, once: Idempotent) -> Grant:
    """Use a benefit once, within its quota and window."""

    def work(store: psycopg.Connection) -> Grant:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.grant_id or once.transaction_id(caller))
        done = offers.use_benefit(store, record, asked.code, acting(app, caller, asked.reason), name, asked.order_id)
        return _told(app, caller, store, living, "loyalty.benefit", done)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.get("/customers/{customer_id}/loyalty/rewards", responses=READS)
def get_rewards(customer_id: UUID, app: App, caller: LoyaltyReader) -> Offers:
    """The programme's rewards, and which of them this customer can take now."""
    act = acting(app, caller, "read")
    with app.store() as store:
        living = allowed(app, caller, store, customer_id)
        records = assignment.records(store, [living])
        have = {u.code: operations.read(store, living, acting(app, caller, "read", u.code))[1].available for u in app.programme.units}  # fmt: skip
        way, gone = (
            recall.way(store, records, act.programme, act.now),
            grants.taken(store, act.programme.programme, "reward"),
        )
    order = [level.code for level in way.ladder.levels] if way else []

    def row(reward: Reward) -> dict[str, Any]:
        left = None if reward.stock is None else max(0, reward.stock - gone.get(reward.code, 0))
        reached = reward.min_level is None or (way is not None and way.height >= order.index(reward.min_level))
        paid = all(have.get(unit, 0) >= amount for unit, amount in reward.cost.items())
        return {**reward.model_dump(include={"code", "kind", "value", "cost", "min_level"}), "left": left, "affordable": paid and reached and left != 0}  # fmt: skip

    return Offers.model_validate({"customer_id": living, "rewards": [row(reward) for reward in app.programme.rewards]})


@router.post("/customers/{customer_id}/loyalty/rewards", status_code=201, responses=WRITES)
def take_reward(customer_id: UUID, asked: Take, app: App, caller: LoyaltyWriter, once: Idempotent) -> Grant:
    """Take a reward: units, level and stock are looked at together; the last one goes to one customer."""

    def work(store: psycopg.Connection) -> Grant:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.grant_id or once.transaction_id(caller))
        done = offers.take_reward(store, record, asked.code, acting(app, caller, asked.reason), name, asked.order_id)
        return _told(app, caller, store, living, "loyalty.reward", done.grant, done.cost)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/customers/{customer_id}/loyalty/coupons", status_code=201, responses=WRITES)
def issue_coupon(customer_id: UUID, asked: Take, app: App, caller: LoyaltyWriter, once: Idempotent) -> Grant:
    """Issue a coupon with a code of its own, within its budget."""

    def work(store: psycopg.Connection) -> Grant:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.grant_id or once.transaction_id(caller))
        done = offers.issue_coupon(store, record, asked.code, acting(app, caller, asked.reason), name)
        return _told(app, caller, store, living, "loyalty.coupon.issued", done)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/loyalty/coupons/redeem", responses=WRITES)
def redeem_coupon(asked: Redeem, app: App, caller: LoyaltyWriter, once: Idempotent) -> Grant:
    """Use a coupon for an order; the code is sent in the body, never in a URL."""

    def work(store: psycopg.Connection) -> Grant:
        found = grants.by_code(store, offers.typed(asked.code))
        living = allowed_of(app, caller, store, found["record_id"] if found else None, "no coupon has this code")
        done = offers.redeem_coupon(store, asked.code, asked.order_id, acting(app, caller, "coupon"))
        return _told(app, caller, store, living, "loyalty.coupon.redeemed", done)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.post("/loyalty/grants/{grant_id}/undo", responses=WRITES)
def undo(grant_id: UUID, app: App, caller: LoyaltyWriter, once: Idempotent) -> Grant:
    """Take a grant back: units return to their lots, a used coupon can be used again, stock and budget are free again."""

    def work(store: psycopg.Connection) -> Grant:
        found = grants.find(store, str(grant_id))
        living = allowed_of(
            app, caller, store, found["record_id"] if found else None, "nothing was given under this id"
        )
        done = offers.undo(store, str(grant_id), acting(app, caller, "undo"))
        return _told(app, caller, store, living, "loyalty.grant.undone", done)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


def _told(
    app: Context, caller: Caller, store: psycopg.Connection, living: str, action: str, row: dict[str, Any], cost: dict[str, int] | None = None
) -> Grant:  # fmt: skip
    """A grant as answers say it, noted in the audit log (a coupon's secret is not)."""
    audit(app, caller, store, living, action, {"grant": row["grant_id"], "offer": row["offer"]})
    shown = ("grant_id", "kind", "at", "expires_at", "used_at", "undone_at", "order_id")
    return Grant.model_validate(
        {
            **{name: row[name] for name in shown},
            "customer_id": living,
            "code": row["offer"],
            "secret": row["code"],
            "cost": cost or {},
        }
    )
