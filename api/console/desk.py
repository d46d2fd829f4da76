"""The privacy desk: requests with their deadlines, proof of identity, how far each system is, export and erasure."""

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from api.console import page
from api.console.actions import Unsaid
from api.console.visit import Officer, Visit
from api.console.why import standing
from api.privacy_schemas import Ask, Proof, StepDone, Why
from api.reading import living_customer
from api.routers import privacy as api
from cdp.store import customers, notes

router = APIRouter()
KINDS = ("access", "portability", "rectification", "restriction", "objection", "erasure")
PROOFS = ("signed_in", "document_seen", "called_back", "code_sent", "in_person")


@router.get("/privacy")
def desk(visit: Officer) -> Response:
    """Every request, those due first before the finished ones."""
    found = api.list_requests(visit.app, visit.caller, False).requests
    return visit.page("privacy.html", requests=found)


@router.get("/privacy/new/{customer_id}")
def ask(visit: Officer, customer_id: UUID) -> Response:
    """What the person asks for."""
    with visit.app.store() as store:
        living, _ = living_customer(store, customer_id)
        about = standing(visit, store, living)
    return visit.page("privacy_new.html", about=about, kinds=KINDS)


@router.post("/privacy/new/{customer_id}")
def receive(visit: Officer, customer_id: UUID) -> Response:
    """Open a request; its deadline is that of the person's law."""
    kind = visit.said("kind")
    if kind not in KINDS:
        raise Unsaid("choose what the person asks for")
    made = api.receive(
        Ask(kind=kind, customer_id=str(customer_id), note=visit.said("note") or None), visit.app, visit.caller
    )
    return visit.back(f"/privacy/{made.request_id}", "received")


@router.get("/privacy/{request_id}")
def show(visit: Officer, request_id: UUID) -> Response:
    """One request: its deadline, what to do next, how far each system is; of an erasure, what it will take away."""
    found = api.get_request(request_id, visit.app, visit.caller)
    takes = taken(visit, found.customer_id) if found.kind == "erasure" and found.finished_at is None else None
    return visit.page("privacy_request.html", request=found, proofs=PROOFS, takes=takes)


@router.post("/privacy/{request_id}")
def act(visit: Officer, request_id: UUID) -> Response:
    """One step on: proof, a longer deadline, a refusal, the deed, or a report of one system."""
    app, caller, what = visit.app, visit.caller, visit.said("act")
    if what == "verify":
        if visit.said("method") not in PROOFS:
            raise Unsaid("choose how the person proved who they are")
        api.verify(request_id, Proof(method=visit.said("method")), app, caller)
    elif what in ("extend", "refuse"):
        if len(visit.said("reason")) < 3:
            raise Unsaid("write the reason that the person is told")
        (api.extend if what == "extend" else api.refuse)(request_id, Why(reason=visit.said("reason")), app, caller)
    elif what == "carry-out":
        api.carry_out(request_id, app, caller)
    elif what == "step":
        status = visit.said("status")
        api.report_step(
            request_id, visit.said("system"), StepDone(status=status, reason=visit.said("reason") or None), app, caller
        )
    else:
        raise Unsaid("there is no such step")
    return visit.back(f"/privacy/{request_id}", what.replace("-", "_"))


@router.post("/privacy/{request_id}/export")
def export(visit: Officer, request_id: UUID) -> Response:
    """Everything held about the person, as a file; audited, and only once identity is proven."""
    answer = api.get_export(request_id, visit.app, visit.caller)
    for name, value in page.HEADERS.items():
        answer.headers[name] = value
    return answer


def taken(visit: Visit, customer_id: str) -> dict[str, int] | None:
    """How many rows of each kind an erasure will take away, or will leave without a person (orders, entries)."""
    with visit.app.store() as store:
        if not customers.exists(store, customer_id):
            return None
        counted = {
            name: len(customers.all_of(store, table, customer_id))
            for name, table in (
                ("contact_records", "contact_records"), ("identifiers", "identifiers"), ("interactions", "interactions"),
                ("consent_decisions", "consent_decisions"), ("orders", "orders"),
            )
        }  # fmt: skip
        return {**counted, "notes": len(notes.of_customer(store, customer_id))}
