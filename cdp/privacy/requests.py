"""Privacy requests: opened with a deadline, identity proven first, answered or carried out, each step noted."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from cdp.consent import recording
from cdp.consent.policy import Policy
from cdp.consent.recording import Said
from cdp.errors import CdpError, NotFound
from cdp.store import assignment, consents, customers, requests
from cdp.store.consents import Evidence

ERASED_SYSTEMS = ("landing", "quarantine", "lake", "models", "store", "logs")
OPEN = ("received", "verified", "running")


class CannotDo(CdpError):
    """What is asked contradicts the state of the request."""

    status_code = 409
    title = "Conflict"


def living(store: psycopg.Connection, customer_id: str) -> str:
    """The customer an id stands for, with a clear answer for those erased.

    Raises:
        CannotDo: If the customer was erased.
        NotFound: If nobody has this id.
    """
    if erased := requests.erased_at(store, customer_id):
        raise CannotDo(f"this customer was erased on {erased:%Y-%m-%d}", "nothing of them is left to act on")
    found = assignment.resolve(store, customer_id)
    if found is None or customers.profile(store, found) is None:
        raise NotFound("no customer has this id")
    return found


def receive(
    store: psycopg.Connection,
    policy: Policy,
    kind: str,
    customer_id: str,
    details: dict[str, Any],
    actor: str,
    now: datetime,
) -> UUID:
    """Open a request, due as the person's law says.

    Raises:
        CannotDo: If an erasure of the customer is already under way, or was done.
        NotFound: If nobody has this id.
    """
    customer, request_id = living(store, customer_id), uuid4()
    if details.get("purpose") and details["purpose"] not in policy.purposes:
        raise recording.CannotRecord("unknown purpose", f"choose from {', '.join(policy.purposes)}")
    known = consents.material(store, customer)
    law = policy.of_links(known.links)
    row = {
        "request_id": request_id, "kind": kind, "customer_id": customer, "jurisdiction": law, "received_at": now,
        "due_at": now + timedelta(days=policy.rules(law).request_days), "actor": actor, "details": details,
    }  # fmt: skip
    try:
        with store.transaction():
            requests.add(store, row)
    except psycopg.errors.UniqueViolation as error:
        raise CannotDo("an erasure of this customer is already under way", "see the list of requests") from error
    for system in _systems(store, kind, customer):
        requests.set_step(store, request_id, system, "pending", now)
    return request_id


def verify(store: psycopg.Connection, request_id: UUID, method: str, actor: str, now: datetime) -> None:
    """Note that the person proved who they are."""
    opened(store, request_id, ("received",))
    requests.update(store, request_id, status="verified", proof=method, verified_at=now, verified_by=actor)


def extend(store: psycopg.Connection, policy: Policy, request_id: UUID, reason: str) -> None:
    """Prolong the deadline once, as far as the law lets."""
    row = opened(store, request_id, OPEN)
    days = policy.rules(row["jurisdiction"]).extension_days
    if row["extended_reason"] or not days:
        raise CannotDo("the deadline cannot be prolonged again", "answer by the date it is due")
    requests.update(store, request_id, due_at=row["due_at"] + timedelta(days=days), extended_reason=reason)


def refuse(store: psycopg.Connection, request_id: UUID, reason: str, now: datetime) -> None:
    """End a request without doing it, with the reason that the person is told."""
    opened(store, request_id, ("received", "verified"))
    requests.update(store, request_id, status="refused", finished_at=now, outcome=reason)


def carry_out(store: psycopg.Connection, policy: Policy, request_id: UUID, actor: str, now: datetime) -> None:
    """Do what a restriction or an objection asks: denials on every record of the person.

    Raises:
        CannotDo: If identity is not proven, or the kind is carried out elsewhere.
    """
    row = proven(store, request_id)
    if row["kind"] not in ("restriction", "objection"):
        raise CannotDo(f"a request of {row['kind']} is not carried out here", _ELSEWHERE[row["kind"]])
    customer = living(store, str(row["customer_id"]))
    known = consents.material(store, customer)
    if row["kind"] == "restriction":
        purposes = [policy.restriction] if policy.restriction else []
    else:
        objected = row["details"].get("purpose")
        purposes = [objected] if objected else [n for n, p in policy.purposes.items() if p.channel != "any"]
    made = [
        d
        for p in purposes
        for d in recording.decisions(Said(p, "denied", f"privacy_{row['kind']}", "privacy"), known, policy, now)
    ]
    added = consents.record(store, made, Evidence(actor, evidence={"request": str(request_id)}), now)
    consents.tell(store, [customer], [(d.subject_type, d.subject) for d in added], now)
    requests.set_step(store, request_id, "consent", "done", now, {"decisions": len(made)})
    finish(store, request_id, f"{len(purposes)} purposes denied", now)


def report_step(
    store: psycopg.Connection, request_id: UUID, system: str, status: str, reason: str | None, now: datetime
) -> None:
    """Note what a person did in one system; the request is done when all of them are.

    Raises:
        NotFound: If the request does not concern this system.
    """
    row = proven(store, request_id)
    if row["kind"] != "rectification":
        raise CannotDo("only the steps of a rectification are reported by people", "the others report themselves")
    if system not in {step["system"] for step in requests.steps(store, request_id)}:
        raise NotFound("this request does not concern that system")
    requests.set_step(store, request_id, system, status, now, {"reason": reason} if reason else None)
    if all(step["status"] in ("done", "skipped") for step in requests.steps(store, request_id)):
        finish(store, request_id, "corrected at the sources", now)


def finish(store: psycopg.Connection, request_id: UUID, outcome: str, now: datetime) -> None:
    """End a request that was done."""
    requests.update(store, request_id, status="done", finished_at=now, outcome=outcome)


def opened(store: psycopg.Connection, request_id: UUID, statuses: tuple[str, ...]) -> dict[str, Any]:
    """The request, locked, if it is in one of these states.

    Raises:
        NotFound: If there is none.
        CannotDo: If it is in another state.
    """
    row = requests.get(store, request_id, lock=True)
    if row is None:
        raise NotFound("no request has this id")
    if row["status"] not in statuses:
        raise CannotDo(f"this request is {row['status']}", f"this can be done while it is {' or '.join(statuses)}")
    return row


def proven(store: psycopg.Connection, request_id: UUID) -> dict[str, Any]:
    """The request, locked, if identity is proven.

    Raises:
        CannotDo: If it is not.
    """
    row = opened(store, request_id, ("received", "verified", "running", "done"))
    if row["verified_at"] is None:
        raise CannotDo("identity is not proven yet", "note how the person proved it: POST …/verify")
    return row


_ELSEWHERE = {
    "access": "fetch GET …/export",
    "portability": "fetch GET …/export",
    "rectification": "correct it at the sources and report each: PUT …/steps/{system}",
    "erasure": "the next 'cdp run' does it",
}


def _systems(store: psycopg.Connection, kind: str, customer: str) -> tuple[str, ...]:
    if kind == "erasure":
        return ERASED_SYSTEMS
    if kind == "rectification":
        return tuple(sorted({row["source"] for row in customers.records(store, customer)}))
    return ("consent",) if kind in ("restriction", "objection") else ("store",)
