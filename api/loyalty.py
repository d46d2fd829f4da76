"""What all loyalty endpoints share: who is asked about, under whose lock, what is told and what is audited."""

from typing import Any
from uuid import UUID

import psycopg

from api.context import Caller, Context
from api.loyalty_schemas import Receipt
from api.problems import Forbidden
from api.reading import answers_the_person, visible_fields
from cdp.errors import Invalid, NotFound
from cdp.loyalty import operations
from cdp.loyalty.groups import locked
from cdp.loyalty.operations import Act, Refused, Standing
from cdp.store import assignment, consents, customers, ledger


class NoUnit(Invalid):
    """The programme has no such unit."""


def acting(app: Context, caller: Caller, reason: str, unit: str | None = None) -> Act:
    """On whose behalf, at this moment, in which unit: the first that can be spent where none is named.

    Raises:
        NoUnit: If the programme has no such unit.
    """
    known = [u.code for u in app.programme.units]
    if unit is not None and unit not in known:
        raise NoUnit(f"this programme has no unit {unit}, only {', '.join(known) or 'none'}", "leave 'unit' out")
    return Act(app.programme.of(unit or app.programme.spends or app.programme.unit), caller.name, app.clock(), reason)


def allowed(app: Context, caller: Caller, store: psycopg.Connection, customer_id: UUID) -> str:
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


def allowed_of(app: Context, caller: Caller, store: psycopg.Connection, record: str | None, unknown: str) -> str:
    """The living customer of a record, if the caller's purpose may see its points."""
    row = (
        store.execute("select customer_id from assignment where record_id = %s", [record]).fetchall() if record else []
    )
    if not row:
        raise NotFound(unknown)
    return allowed(app, caller, store, row[0][0])


def asking(
    app: Context, caller: Caller, store: psycopg.Connection, customer_id: UUID, record: str | None
) -> tuple[str, str]:
    """The living customer and the record that asks, its oldest where none is named."""
    living = allowed(app, caller, store, customer_id)
    if record is None:
        record = customers.oldest_record(store, living)
        assert record is not None
    elif not customers.holds(store, living, record):
        raise NotFound("this customer has no such record")
    return ours(app, store, living, record), record


def ours(app: Context, store: psycopg.Connection, living: str, record: str) -> str:
    """Lock the customer before the clock is read: what is decided by time is decided in the order of the locks."""
    programme = app.programme
    if programme.units:
        held = locked(store, [record], programme, app.clock())[record].customer_of.get(record)
    else:
        held = ledger.lock(store, [record], programme.programme, "")[0][0].customer_id
    if held != living:
        raise Refused("this record moved to another customer meanwhile", "read the customer again")
    return living


def audit(
    app: Context, caller: Caller, store: psycopg.Connection, living: str, action: str, details: dict[str, Any]
) -> None:
    """Note what was done, in the transaction that does it."""
    app.trail.write(store, caller.event(action, living, details=details))


def receipt(
    app: Context, caller: Caller, store: psycopg.Connection, living: str, action: str, done: operations.Receipt, **more: Any
) -> Receipt:  # fmt: skip
    """The answer of an operation, noted in the audit log."""
    details = {"transaction": done.transaction_id, "points": done.amount, **more}
    audit(app, caller, store, living, action, details)
    return shown(living, done)


def shown(living: str, done: operations.Receipt) -> Receipt:
    """The answer of an operation."""
    return Receipt.model_validate(
        {
            "customer_id": living,
            "transaction_id": done.transaction_id,
            "points": done.amount,
            **standing_of(done.standing),
        }
    )


def standing_of(found: Standing) -> dict[str, Any]:
    """How points stand, as answers say it."""
    return {
        "balance": found.balance,
        "held": found.held,
        "available": found.available,
        "balance_version": found.version,
    }
