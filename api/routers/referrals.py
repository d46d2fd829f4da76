"""Referral: a code to invite with, and who was invited by whom."""

from uuid import UUID

import psycopg
from fastapi import APIRouter

from api.context import App, LoyaltyWriter
from api.idempotency import Idempotent
from api.loyalty import acting, asking, audit
from api.offers_schemas import Claim, Claimed, Join, ReferralCode
from api.problems import responses
from cdp.loyalty import referrals

router = APIRouter(prefix="/v1", tags=["loyalty"])
WRITES = responses(400, 401, 403, 404, 409, 422, 503)


@router.post("/customers/{customer_id}/loyalty/referral-code", responses=WRITES)
def code(customer_id: UUID, asked: Join, app: App, caller: LoyaltyWriter, once: Idempotent) -> ReferralCode:
    """The customer's code: one for ever."""

    def work(store: psycopg.Connection) -> ReferralCode:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        made = referrals.code(store, record, acting(app, caller, "referral"))
        audit(app, caller, store, living, "loyalty.referral.code", {})
        return ReferralCode(customer_id=living, code=made)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.post("/customers/{customer_id}/loyalty/referrals", status_code=201, responses=WRITES)
def claim(customer_id: UUID, asked: Claim, app: App, caller: LoyaltyWriter, once: Idempotent) -> Claimed:
    """Say who invited this new customer, before the first order. Nobody invites themselves, nor whom they live with."""

    def work(store: psycopg.Connection) -> Claimed:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        act = acting(app, caller, "referral")
        done = referrals.claim(store, record, asked.code, act, once.transaction_id(caller))
        audit(app, caller, store, living, "loyalty.referral.claimed", {"referral": done})
        return Claimed(referral_id=done, customer_id=living)

    return once.do(caller, work)  # type: ignore[no-any-return]
