"""People who share: a circle is founded, others are invited and accept. Never inferred; each membership belongs to a record."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from cdp.loyalty.lots import NAMESPACE
from cdp.loyalty.operations import Act, Refused
from cdp.store import assignment, changes, ledger, plans

MEMBER = ("found", "accept")


@dataclass(frozen=True)
class Circle:
    """A circle as it stands: customers that are in it, and customers that are invited.

    Attributes:
        records: The records of those that are in it.
    """

    circle_id: str
    members: tuple[str, ...]
    invited: tuple[str, ...]
    records: tuple[str, ...]


def of(store: psycopg.Connection, records: list[str], programme: str) -> Circle | None:
    """The circle that one of these records is in, or is invited to; the one it is in comes first."""
    rows, mine = plans.circles(store, records, programme), set(records)
    named = [row["circle_id"] for row in rows if row["record_id"] in mine and row["kind"] in MEMBER]
    named += [row["circle_id"] for row in rows if row["record_id"] in mine and row["kind"] == "invite"]
    return _circle(named[0], rows) if named else None


def _circle(name: str, rows: list[dict[str, Any]]) -> Circle:
    inside = [row for row in rows if row["circle_id"] == name and row["kind"] in MEMBER and row["customer_id"]]
    invited = [row for row in rows if row["circle_id"] == name and row["kind"] == "invite" and row["customer_id"]]
    members = tuple(dict.fromkeys(str(row["customer_id"]) for row in inside))
    waiting = tuple(dict.fromkeys(str(row["customer_id"]) for row in invited if row["customer_id"] not in members))
    return Circle(name, members, waiting, tuple(row["record_id"] for row in inside))


def hold(store: psycopg.Connection, records: list[str], programme: str) -> None:
    """Keep the circles of these records as they are until the transaction ends: whoever changes or uses one waits here."""
    for name in sorted({str(row["circle_id"]) for row in plans.circles(store, records, programme)}):
        store.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"circle|{name}"])


def invite(store: psycopg.Connection, record: str, other: str, act: Act, event_id: str) -> Circle:
    """Ask somebody into the circle of a record's customer, which is founded if there is none.

    Args:
        store: In a transaction.
        record: Who asks.
        other: The record that is asked.
        act: On whose behalf.
        event_id: Names the invitation; the same one again changes nothing.

    Raises:
        Refused: If the programme has no circles, this one is full, or the other is in one.
    """
    household = act.programme.household
    if household.mode == "none":
        raise Refused("this programme shares nothing", "set 'household' in its YAML")
    customers = _locked(store, [record, other], act)
    if customers[record] == customers[other]:
        raise Refused("this is the same customer")
    hold(store, assignment.records(store, sorted(set(customers.values()))), act.programme.programme)
    mine, theirs = (
        of(store, assignment.records(store, [customers[r]]), act.programme.programme) for r in (record, other)
    )
    if theirs is not None and customers[other] in theirs.members:
        raise Refused("this customer is in a circle already", "let them leave it first")
    if mine is None or customers[record] not in mine.members:
        name = str(uuid.uuid5(NAMESPACE, f"circle#{event_id}"))
        _note(store, name, record, "found", act, str(uuid.uuid5(NAMESPACE, f"found#{event_id}")))
    else:
        name = mine.circle_id
        if len(mine.members) + len(mine.invited) >= household.max_members and customers[other] not in mine.invited:
            raise Refused(f"a circle has at most {household.max_members} members, invitations among them")
    _note(store, name, other, "invite", act, event_id)
    return _circle(name, plans.circles(store, [record], act.programme.programme))


def accept(store: psycopg.Connection, record: str, act: Act, event_id: str) -> Circle:
    """Say yes to an invitation.

    Raises:
        Refused: If there is none, or the customer is in a circle.
    """
    customer = _locked(store, [record], act)[record]
    records = assignment.records(store, [customer])
    hold(store, records, act.programme.programme)
    rows = plans.circles(store, records, act.programme.programme)
    if any(row["kind"] in MEMBER and row["record_id"] in records for row in rows):
        raise Refused("this customer is in a circle already", "leave it first")
    asked = [row for row in rows if row["kind"] == "invite" and row["record_id"] in records]
    if not asked:
        raise Refused("nobody has invited this customer")
    name = str(asked[-1]["circle_id"])
    if len(_circle(name, rows).members) >= act.programme.household.max_members:
        raise Refused(f"a circle has at most {act.programme.household.max_members} members")
    _note(store, name, asked[-1]["record_id"], "accept", act, event_id)
    found = _circle(name, plans.circles(store, records, act.programme.programme))
    _tell(store, found.members, act)
    return found


def leave(store: psycopg.Connection, record: str, act: Act, event_id: str) -> None:
    """Leave, or say no: what each has earned stays their own.

    Raises:
        Refused: If the customer is in no circle and invited to none.
    """
    records = assignment.records(store, [_locked(store, [record], act)[record]])
    hold(store, records, act.programme.programme)
    rows = plans.circles(store, records, act.programme.programme)
    held = [row for row in rows if row["record_id"] in records and row["kind"] != "leave"]
    if not held:
        raise Refused("this customer is in no circle")
    _tell(store, [m for row in held for m in _circle(str(row["circle_id"]), rows).members], act)
    for row in held:
        name = str(uuid.uuid5(NAMESPACE, f"{event_id}#{row['circle_id']}#{row['record_id']}"))
        _note(store, row["circle_id"], row["record_id"], "leave", act, name)


def _tell(store: psycopg.Connection, customers: Sequence[str], act: Act) -> None:
    """Where units are shared, everybody's balance changes with who is in."""
    if act.programme.household.mode == "pool_units":
        changes.add(store, [("balance.changed", name, {}) for name in sorted(set(customers))], act.now)


def _note(store: psycopg.Connection, circle: str, record: str, kind: str, act: Act, event_id: str) -> None:
    plans.note(store, {"event_id": event_id, "circle_id": circle, "record_id": record, "programme": act.programme.programme, "kind": kind, "at": act.now, "actor": act.actor})  # fmt: skip


def _locked(store: psycopg.Connection, records: list[str], act: Act) -> dict[str, str]:
    """The customers of these records, locked."""
    found, _ = ledger.lock(store, sorted(records), act.programme.programme, act.programme.unit)
    customers = {record: item.customer_id for item in found for record in item.records if item.customer_id}
    if missing := [record for record in records if record not in customers]:
        raise Refused(f"{len(missing)} of these records belong to nobody")
    return customers
