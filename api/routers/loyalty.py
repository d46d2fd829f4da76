"""Loyalty of one customer: balance and entries; points spent, set aside, reversed, corrected."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

import psycopg
from fastapi import APIRouter, Header, Query, Response

from api import present
from api.context import App, Caller, Context, LoyaltyReader, LoyaltyWriter
from api.idempotency import Idempotent
from api.loyalty import acting, allowed, allowed_of, asking, audit, receipt, shown, standing_of
from api.loyalty_schemas import (
    Balance,
    Correct,
    Decide,
    Earned,
    Entries,
    PastBalance,
    Receipt,
    Reverse,
    Sale,
    Spend,
    Waiting,
    WaitingList,
)  # fmt: skip
from api.problems import Forbidden, responses
from api.reading import BadCursor, answers_the_person, read_cursor, write_cursor
from api.schemas import Moment
from cdp.errors import Invalid
from cdp.loyalty import approvals, operations
from cdp.loyalty.rules import Line
from cdp.store import books, customers, holds

router = APIRouter(prefix="/v1", tags=["loyalty"])
READS = responses(401, 403, 404, 422, 503)
WRITES = responses(400, 401, 403, 404, 409, 422, 429, 503)


MOST_WAITING = 200


class Nothing(Invalid):
    """A correction of nothing."""


@router.get(
    "/customers/{customer_id}/loyalty/balance",
    responses=READS | {304: {"description": "As the caller has it"}},
    response_model=Balance | PastBalance,
)
def get_balance(
    customer_id: UUID,
    app: App,
    caller: LoyaltyReader,
    response: Response,
    as_of: Annotated[
        Moment | None, Query(description="What the books say of a moment in the past; now where left out")
    ] = None,
    unit: Annotated[str | None, Query(max_length=60, description="The first that can be spent where left out")] = None,
    if_none_match: Annotated[str | None, Header(max_length=100)] = None,
) -> Any:
    """The one balance of all channels, with its version: send it back as `If-None-Match` and an unchanged one answers 304."""
    act = acting(app, caller, "read", unit)
    with app.store() as store, store.transaction():
        store.execute("set transaction isolation level repeatable read, read only")
        living = allowed(app, caller, store, customer_id)
        group, stands = operations.read(store, living, act)
        past = None
        if as_of is not None and as_of < act.now:
            past = books.past_balance(store, [account.account_id for account in group.accounts], as_of)
    about = {"customer_id": living, "programme": act.programme.programme, "unit": act.programme.unit}
    if past is not None:
        return PastBalance.model_validate({**about, "as_of": as_of, "balance": past})
    assert group.open is not None
    tag = f'"{stands.version}-{stands.balance}-{stands.held}"'  # time alone may change what is available
    response.headers["ETag"] = tag
    if if_none_match is not None and tag in [part.strip() for part in if_none_match.split(",")]:
        return Response(status_code=304, headers={"ETag": tag})
    expiring = [{"expires_at": at, "points": points} for at, points in operations.ending(group, act.now)]
    owed = sum(group.open.deficits.values())
    return Balance.model_validate(
        {**about, **standing_of(stands), "as_of": act.now, "owed": owed, "expiring": expiring}
    )


@router.get("/customers/{customer_id}/loyalty/entries", responses=READS)
def get_entries(
    customer_id: UUID, app: App, caller: LoyaltyReader, cursor: Annotated[str | None, Query(max_length=400)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Entries:  # fmt: skip
    """Every entry of the customer's accounts, the newest first."""
    before = read_cursor(cursor) if cursor else None
    try:
        UUID(before[1] if before else str(customer_id))
    except ValueError as error:
        raise BadCursor("this cursor was not made by this endpoint") from error
    with app.store() as store:
        living = allowed(app, caller, store, customer_id)
        rows = books.entries(store, books.accounts_of(store, living), before, limit + 1)
    shown = [
        {
            **{k: v for k, v in row.items() if k != "amount"},
            "points": row["amount"],
            "record_id": present.record(row["record_id"], revealed=False),
        }
        for row in rows[:limit]
    ]
    more = (
        write_cursor({"occurred_at": rows[limit - 1]["occurred_at"], "id": rows[limit - 1]["entry_id"]})
        if len(rows) > limit
        else None
    )
    return Entries.model_validate({"customer_id": living, "entries": shown, "next": more})


@router.post("/customers/{customer_id}/loyalty/redeem", status_code=201, responses=WRITES)
def redeem(customer_id: UUID, asked: Spend, app: App, caller: LoyaltyWriter, once: Idempotent) -> Receipt:
    """Spend points: never more than is available, on whatever channel they were earned."""

    def work(store: psycopg.Connection) -> Receipt:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.transaction_id or once.transaction_id(caller))
        act = acting(app, caller, asked.reason, asked.unit)
        done = operations.redeem(store, record, asked.points, act, name, asked.order_id)
        return receipt(app, caller, store, living, "loyalty.redeem", done)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/customers/{customer_id}/loyalty/redeem/preview", responses=WRITES)
def preview(customer_id: UUID, asked: Spend, app: App, caller: LoyaltyWriter) -> Receipt:
    """What spending would do, by the same code, undone."""
    with app.store() as store, store.transaction(force_rollback=True):
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.transaction_id or uuid4())
        act = acting(app, caller, asked.reason, asked.unit)
        done = operations.redeem(store, record, asked.points, act, name, asked.order_id)
    return shown(living, done)


@router.post("/customers/{customer_id}/loyalty/earn", status_code=201, responses=WRITES)
def earn(customer_id: UUID, asked: Sale, app: App, caller: LoyaltyWriter, once: Idempotent) -> Earned:
    """A sale earns at once, by the rule and key of the pipeline: its file adds nothing later."""

    def work(store: psycopg.Connection) -> Earned:
        done = _earn(app, caller, store, customer_id, asked)
        audit(app, caller, store, done.customer_id, "loyalty.earn", {"order": done.order_id, "points": done.points})
        return done

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/customers/{customer_id}/loyalty/earn/preview", responses=WRITES)
def preview_earn(customer_id: UUID, asked: Sale, app: App, caller: LoyaltyWriter) -> Earned:
    """What a sale would earn, by the same code, undone."""
    with app.store() as store, store.transaction(force_rollback=True):
        return _earn(app, caller, store, customer_id, asked)


def _earn(app: Context, caller: Caller, store: psycopg.Connection, customer_id: UUID, asked: Sale) -> Earned:
    living, record = asking(app, caller, store, customer_id, asked.record_id)
    act = acting(app, caller, "sale")
    if asked.ordered_at > act.now + timedelta(minutes=5):
        raise Nothing("a sale in the future earns nothing", "mend the till's clock")
    order = {
        "order_id": f"{asked.source}:{asked.order_key}", "record_id": record, "ordered_at": asked.ordered_at, "currency": asked.currency,
        "points_redeemed": asked.points_redeemed, "is_member": customers.is_known(store, living), "source": asked.source,
    }  # fmt: skip
    lines = [Line(line.line_no, line.sku, line.quantity, line.amount) for line in asked.lines]
    done, reason = operations.earn(store, order, lines, act)
    return Earned.model_validate(
        {
            "customer_id": living,
            "order_id": order["order_id"],
            "points": done.amount,
            "units": done.units,
            "reason": reason,
            **standing_of(done.standing),
        }
    )


@router.post("/loyalty/transactions/{transaction_id}/reverse", status_code=201, responses=WRITES)
def reverse(transaction_id: UUID, asked: Reverse, app: App, caller: LoyaltyWriter, once: Idempotent) -> Receipt:
    """Take a transaction back whole. Nothing is changed: an entry of the opposite sign is added."""

    def work(store: psycopg.Connection) -> Receipt:
        about = books.transaction(store, str(transaction_id))
        living = allowed_of(app, caller, store, about["record_id"] if about else None, "no transaction has this id")
        act = acting(app, caller, asked.reason, about["unit"] if about else None)
        done = operations.reverse(store, str(transaction_id), act)
        return receipt(app, caller, store, living, "loyalty.reverse", done, reversed=str(transaction_id))

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post(
    "/customers/{customer_id}/loyalty/adjustments", status_code=201, response_model=Receipt | Waiting,
    responses=WRITES | {202: {"description": "Above the limit: it waits for a second person", "model": Waiting}},
)  # fmt: skip
def adjust(customer_id: UUID, asked: Correct, app: App, caller: LoyaltyWriter, once: Idempotent) -> Any:
    """Correct a balance, with a reason. Above the programme's limit it waits until somebody else approves it."""
    if asked.points == 0:
        raise Nothing("a correction of 0 points changes nothing")
    seen = acting(app, caller, asked.reason, asked.unit).programme
    waits = bool(seen.units) and abs(asked.points) > seen.parts(seen.adjust_limit)

    def work(store: psycopg.Connection) -> Any:
        living, record = asking(app, caller, store, customer_id, asked.record_id)
        act, name = acting(app, caller, asked.reason, asked.unit), once.transaction_id(caller)
        if waits:
            made = approvals.ask(store, record, asked.points, act, name)
            audit(app, caller, store, living, "loyalty.adjustment.asked", {"approval": name, "points": asked.points})
            return _waiting(made, living)
        return receipt(
            app, caller, store, living, "loyalty.adjust", operations.adjust(store, record, asked.points, act, name)
        )

    answer = once.do(caller, work, 202 if waits else 201)
    once.status(202 if waits else 201)
    return answer


@router.get("/loyalty/approvals", responses=responses(401, 403, 422, 503))
def get_approvals(app: App, caller: LoyaltyWriter) -> WaitingList:
    """Corrections that wait for a second person."""
    if not answers_the_person(app, caller):
        raise Forbidden(f"corrections are not shown for the purpose {caller.purpose}")
    with app.store() as store:
        rows = holds.waiting(store, MOST_WAITING)
    return WaitingList.model_validate({"approvals": [_waiting(row, row["customer_id"]) for row in rows]})


@router.post("/loyalty/approvals/{approval_id}", responses=WRITES)
def decide(approval_id: UUID, asked: Decide, app: App, caller: LoyaltyWriter, once: Idempotent) -> Waiting:
    """Approve or refuse a correction that somebody else asked for."""

    def work(store: psycopg.Connection) -> Waiting:
        found = holds.approval(store, str(approval_id))
        living = allowed_of(
            app, caller, store, found["record_id"] if found else None, "no correction waits under this id"
        )
        act = acting(app, caller, "approval", found["unit"] if found else None)
        done, _ = approvals.decide(store, str(approval_id), asked.approve, act)
        audit(
            app,
            caller,
            store,
            living,
            "loyalty.adjustment.decided",
            {"approval": str(approval_id), "approved": asked.approve},
        )
        return Waiting.model_validate(_waiting(done, living))

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


def _waiting(row: dict[str, Any], customer: str | None) -> dict[str, Any]:
    status = "waiting" if row["decided_at"] is None else "approved" if row["approved"] else "refused"
    shown = ("approval_id", "reason", "asked_by", "asked_at")
    return {**{name: row[name] for name in shown}, "customer_id": customer, "points": row["amount"], "status": status}
