"""Loyalty of one customer: balance and entries; points spent, set aside, reversed, corrected."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

import psycopg
from fastapi import APIRouter, Header, Query, Response
from pydantic import AwareDatetime

from api import present
from api.context import App, Caller, Context, LoyaltyReader, LoyaltyWriter
from api.idempotency import Idempotent
from api.loyalty_schemas import (
    Balance,
    Capture,
    Correct,
    Decide,
    Earned,
    Entries,
    Hold,
    PastBalance,
    Receipt,
    Reverse,
    Sale,
    SetAside,
    Spend,
    Waiting,
    WaitingList,
)  # fmt: skip
from api.problems import Forbidden, responses
from api.routers.customers import BadCursor, answers_the_person, read_cursor, visible_fields, write_cursor
from cdp.errors import CdpError, NotFound
from cdp.loyalty import approvals, holding, operations
from cdp.loyalty.operations import Act, Refused, Standing
from cdp.loyalty.posting import locked
from cdp.loyalty.rules import Line
from cdp.store import assignment, books, consents, customers, holds

router = APIRouter(prefix="/v1", tags=["loyalty"])
READS = responses(401, 403, 404, 422, 503)
WRITES = responses(400, 401, 403, 404, 409, 422, 503)


MOST_WAITING = 200


class Nothing(CdpError):
    """A correction of nothing."""

    status_code = 422
    title = "Invalid request"


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
        AwareDatetime | None, Query(description="What the books say of a moment in the past; now where left out")
    ] = None,
    if_none_match: Annotated[str | None, Header(max_length=100)] = None,
) -> Any:
    """The one balance of all channels, with its version: send it back as `If-None-Match` and an unchanged one answers 304."""
    act = _act(app, caller, "read")
    with app.store() as store, store.transaction():
        store.execute("set transaction isolation level repeatable read, read only")
        living = _allowed(app, caller, store, customer_id)
        group, stands = operations.read(store, living, act)
        past = None
        if as_of is not None and as_of < act.now:
            past = books.past_balance(store, [account.account_id for account in group.accounts], as_of)
    about = {"customer_id": living, "programme": app.programme.programme, "unit": app.programme.unit}
    if past is not None:
        return PastBalance.model_validate({**about, "as_of": as_of, "balance": past})
    assert group.open is not None
    tag = f'"{stands.version}-{stands.balance}-{stands.held}"'  # time alone may change what is available
    response.headers["ETag"] = tag
    if if_none_match is not None and tag in [part.strip() for part in if_none_match.split(",")]:
        return Response(status_code=304, headers={"ETag": tag})
    expiring = [{"expires_at": at, "points": points} for at, points in operations.ending(group, act.now)]
    owed = sum(group.open.deficits.values())
    return Balance.model_validate({**about, **_stands(stands), "as_of": act.now, "owed": owed, "expiring": expiring})


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
        living = _allowed(app, caller, store, customer_id)
        group, _ = operations.read(store, living, _act(app, caller, "read"))
        rows = books.entries(store, [account.account_id for account in group.accounts], before, limit + 1)
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
        living, record = _asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.transaction_id or once.transaction_id(caller))
        done = operations.redeem(store, record, asked.points, _act(app, caller, asked.reason), name, asked.order_id)
        return _receipt(app, caller, store, living, "loyalty.redeem", done)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/customers/{customer_id}/loyalty/redeem/preview", responses=WRITES)
def preview(customer_id: UUID, asked: Spend, app: App, caller: LoyaltyWriter) -> Receipt:
    """What spending would do, by the same code, undone."""
    with app.store() as store, store.transaction(force_rollback=True):
        living, record = _asking(app, caller, store, customer_id, asked.record_id)
        name = str(asked.transaction_id or uuid4())
        done = operations.redeem(store, record, asked.points, _act(app, caller, asked.reason), name, asked.order_id)
    return _shown(living, done)


@router.post("/customers/{customer_id}/loyalty/earn", status_code=201, responses=WRITES)
def earn(customer_id: UUID, asked: Sale, app: App, caller: LoyaltyWriter, once: Idempotent) -> Earned:
    """A sale earns at once, by the rule and key of the pipeline: its file adds nothing later."""

    def work(store: psycopg.Connection) -> Earned:
        done = _earn(app, caller, store, customer_id, asked)
        _audit(app, caller, store, done.customer_id, "loyalty.earn", {"order": done.order_id, "points": done.points})
        return done

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post("/customers/{customer_id}/loyalty/earn/preview", responses=WRITES)
def preview_earn(customer_id: UUID, asked: Sale, app: App, caller: LoyaltyWriter) -> Earned:
    """What a sale would earn, by the same code, undone."""
    with app.store() as store, store.transaction(force_rollback=True):
        return _earn(app, caller, store, customer_id, asked)


def _earn(app: Context, caller: Caller, store: psycopg.Connection, customer_id: UUID, asked: Sale) -> Earned:
    living, record = _asking(app, caller, store, customer_id, asked.record_id)
    act = _act(app, caller, "sale")
    if asked.ordered_at > act.now + timedelta(minutes=5):
        raise Nothing("a sale in the future earns nothing", "mend the till's clock")
    order = {
        "order_id": f"{asked.source}:{asked.order_key}", "record_id": record, "ordered_at": asked.ordered_at, "currency": asked.currency,
        "points_redeemed": asked.points_redeemed, "is_member": customers.is_known(store, living),
    }  # fmt: skip
    lines = [Line(line.line_no, line.sku, line.quantity, line.amount) for line in asked.lines]
    done, reason = operations.earn(store, order, lines, act)
    return Earned.model_validate(
        {
            "customer_id": living,
            "order_id": order["order_id"],
            "points": done.amount,
            "reason": reason,
            **_stands(done.standing),
        }
    )


@router.post("/customers/{customer_id}/loyalty/holds", status_code=201, responses=WRITES)
def hold(customer_id: UUID, asked: SetAside, app: App, caller: LoyaltyWriter, once: Idempotent) -> Hold:
    """Set points aside for a checkout: nobody else can spend them until the hold is captured, voided or ends by itself."""

    def work(store: psycopg.Connection) -> Hold:
        living, record = _asking(app, caller, store, customer_id, asked.record_id)
        act = _act(app, caller, asked.reason)
        name = str(asked.hold_id or once.transaction_id(caller))
        made, stands = holding.hold(
            store, record, asked.points, act, name, asked.minutes or app.programme.hold_minutes, asked.order_id
        )
        if (made["record_id"], made["amount"]) != (record, asked.points):
            raise Refused("this id was used for something else", "make a new id for every hold")
        _audit(app, caller, store, living, "loyalty.hold", {"hold": name, "points": asked.points})
        return _hold(living, made, stands, act.now)

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.get("/loyalty/holds/{hold_id}", responses=READS)
def get_hold(hold_id: UUID, app: App, caller: LoyaltyReader) -> Hold:
    """A hold and what became of it."""
    act = _act(app, caller, "read")
    with app.store() as store:
        living, found = _held(app, caller, store, hold_id, reading=True)
        _, stands = operations.read(store, living, act)
    return _hold(living, found, stands, act.now)


@router.post("/loyalty/holds/{hold_id}/capture", responses=WRITES)
def capture(hold_id: UUID, asked: Capture, app: App, caller: LoyaltyWriter, once: Idempotent) -> Receipt:
    """Spend what was set aside, or less: the rest is available again."""

    def work(store: psycopg.Connection) -> Receipt:
        living, found = _held(app, caller, store, hold_id)
        done = holding.capture(store, str(hold_id), asked.points, _act(app, caller, found["reason"]))
        return _receipt(app, caller, store, living, "loyalty.capture", done)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.post("/loyalty/holds/{hold_id}/void", responses=WRITES)
def void(hold_id: UUID, app: App, caller: LoyaltyWriter, once: Idempotent) -> Hold:
    """Give up a hold."""

    def work(store: psycopg.Connection) -> Hold:
        living, found = _held(app, caller, store, hold_id)
        act = _act(app, caller, found["reason"])
        stands = holding.void(store, str(hold_id), act)
        _audit(app, caller, store, living, "loyalty.void", {"hold": str(hold_id)})
        return _hold(living, _held(app, caller, store, hold_id)[1], stands, act.now)

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


@router.post("/loyalty/transactions/{transaction_id}/reverse", status_code=201, responses=WRITES)
def reverse(transaction_id: UUID, asked: Reverse, app: App, caller: LoyaltyWriter, once: Idempotent) -> Receipt:
    """Take a transaction back whole. Nothing is changed: an entry of the opposite sign is added."""

    def work(store: psycopg.Connection) -> Receipt:
        about = books.transaction(store, str(transaction_id))
        living = _allowed_of(app, caller, store, about["record_id"] if about else None, "no transaction has this id")
        done = operations.reverse(store, str(transaction_id), _act(app, caller, asked.reason))
        return _receipt(app, caller, store, living, "loyalty.reverse", done, reversed=str(transaction_id))

    return once.do(caller, work)  # type: ignore[no-any-return]


@router.post(
    "/customers/{customer_id}/loyalty/adjustments", status_code=201, response_model=Receipt | Waiting,
    responses=WRITES | {202: {"description": "Above the limit: it waits for a second person", "model": Waiting}},
)  # fmt: skip
def adjust(customer_id: UUID, asked: Correct, app: App, caller: LoyaltyWriter, once: Idempotent) -> Any:
    """Correct a balance, with a reason. Above the programme's limit it waits until somebody else approves it."""
    if asked.points == 0:
        raise Nothing("a correction of 0 points changes nothing")
    waits = abs(asked.points) > app.programme.adjust_limit

    def work(store: psycopg.Connection) -> Any:
        living, record = _asking(app, caller, store, customer_id, asked.record_id)
        act, name = _act(app, caller, asked.reason), once.transaction_id(caller)
        if waits:
            made = approvals.ask(store, record, asked.points, act, name)
            _audit(app, caller, store, living, "loyalty.adjustment.asked", {"approval": name, "points": asked.points})
            return _waiting(made, living)
        return _receipt(
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
        living = _allowed_of(
            app, caller, store, found["record_id"] if found else None, "no correction waits under this id"
        )
        done, _ = approvals.decide(store, str(approval_id), asked.approve, _act(app, caller, "approval"))
        _audit(
            app,
            caller,
            store,
            living,
            "loyalty.adjustment.decided",
            {"approval": str(approval_id), "approved": asked.approve},
        )
        return Waiting.model_validate(_waiting(done, living))

    return once.do(caller, work, 200)  # type: ignore[no-any-return]


def _act(app: Context, caller: Caller, reason: str) -> Act:
    return Act(app.programme, caller.name, app.clock(), reason)


def _allowed(app: Context, caller: Caller, store: psycopg.Connection, customer_id: UUID) -> str:
    """The living customer, if the caller's purpose may see its points."""
    living = assignment.resolve(store, str(customer_id))
    if living is None or not customers.exists(store, living):
        raise NotFound("no customer has this id")
    # what needs no consent asks for none: a till does not wait for what it may do anyway
    known = None if answers_the_person(app, caller) else consents.material(store, living)
    withheld = visible_fields(app, caller, known).withheld.get("loyalty")
    if withheld:
        raise Forbidden(f"points are withheld for the purpose {caller.purpose}: {withheld}")
    return living


def _allowed_of(app: Context, caller: Caller, store: psycopg.Connection, record: str | None, unknown: str) -> str:
    row = (
        store.execute("select customer_id from assignment where record_id = %s", [record]).fetchall() if record else []
    )
    if not row:
        raise NotFound(unknown)
    return _allowed(app, caller, store, row[0][0])


def _asking(
    app: Context, caller: Caller, store: psycopg.Connection, customer_id: UUID, record: str | None
) -> tuple[str, str]:
    """The living customer and the record that asks, its oldest where none is named."""
    living = _allowed(app, caller, store, customer_id)
    if record is None:
        oldest = customers.oldest_record(store, living)
        assert oldest is not None
        return living, oldest
    if not store.execute(
        "select 1 from assignment where record_id = %s and customer_id = %s", [record, living]
    ).fetchall():
        raise NotFound("this customer has no such record")
    return _ours(app, store, living, record), record


def _ours(app: Context, store: psycopg.Connection, living: str, record: str) -> str:
    """Lock the customer before the clock is read: what is decided by time is decided in the order of the locks."""
    if locked(store, [record], app.programme, app.clock())[record].customer_id != living:
        raise Refused("this record moved to another customer meanwhile", "read the customer again")
    return living


def _held(
    app: Context, caller: Caller, store: psycopg.Connection, hold_id: UUID, *, reading: bool = False
) -> tuple[str, dict[str, Any]]:
    found = holds.find(store, str(hold_id))
    living = _allowed_of(app, caller, store, found["record_id"] if found else None, "no hold has this id")
    assert found is not None
    return living if reading else _ours(app, store, living, found["record_id"]), found


def _audit(
    app: Context, caller: Caller, store: psycopg.Connection, living: str, action: str, details: dict[str, Any]
) -> None:
    app.trail.write(store, caller.event(action, living, details=details))


def _receipt(
    app: Context, caller: Caller, store: psycopg.Connection, living: str, action: str, done: operations.Receipt, **more: Any
) -> Receipt:  # fmt: skip
    details = {"transaction": done.transaction_id, "points": done.amount, **more}
    _audit(app, caller, store, living, action, details)
    return _shown(living, done)


def _shown(living: str, done: operations.Receipt) -> Receipt:
    return Receipt.model_validate(
        {"customer_id": living, "transaction_id": done.transaction_id, "points": done.amount, **_stands(done.standing)}
    )


def _stands(found: Standing) -> dict[str, Any]:
    return {
        "balance": found.balance,
        "held": found.held,
        "available": found.available,
        "balance_version": found.version,
    }


def _hold(living: str, row: dict[str, Any], stands: Standing, now: datetime) -> Hold:
    status = row["resolution"] or ("ended" if row["expires_at"] <= now else "open")
    return Hold.model_validate(
        {"customer_id": living, "hold_id": row["hold_id"], "points": row["amount"], "status": status, "captured": row["captured"],
         "expires_at": row["expires_at"], **_stands(stands)}
    )  # fmt: skip


def _waiting(row: dict[str, Any], customer: str | None) -> dict[str, Any]:
    status = "waiting" if row["decided_at"] is None else "approved" if row["approved"] else "refused"
    shown = ("approval_id", "reason", "asked_by", "asked_at")
    return {**{name: row[name] for name in shown}, "customer_id": customer, "points": row["amount"], "status": status}
