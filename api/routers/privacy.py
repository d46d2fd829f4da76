"""Privacy requests: opened, identity proven, answered, refused, prolonged; every act is audited before its answer."""

from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Path, Query
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from api.context import App, Caller, Context, PrivacyOfficer
from api.privacy_schemas import Ask, Proof, Request, Requests, StepDone, Why
from api.problems import responses
from cdp.errors import NotFound
from cdp.privacy import export, requests
from cdp.store import requests as stored

router = APIRouter(prefix="/v1/privacy/requests", tags=["privacy"])
ERRORS = responses(401, 403, 404, 409, 422, 503)
System = Annotated[str, Path(max_length=60)]


@router.post("", status_code=201, responses=ERRORS)
def receive(asked: Ask, app: App, caller: PrivacyOfficer) -> Request:
    """Open a request. Its deadline is that of the person's law; nothing is released before identity is proven."""
    details = {name: value for name, value in (("purpose", asked.purpose), ("note", asked.note)) if value}
    with app.store() as store, store.transaction():
        made = requests.receive(store, app.policy, asked.kind, asked.customer_id, details, caller.name, app.clock())
        return _told(app, store, caller, made, "received")


@router.get("", responses=responses(401, 403, 422, 503))
def list_requests(
    app: App,
    caller: PrivacyOfficer,
    open_only: Annotated[bool, Query(description="Leave out what is finished")] = False,
) -> Requests:
    """All requests, those due first before the finished ones."""
    with app.store() as store:
        rows = stored.listed(store, list(requests.OPEN) if open_only else None)
        return Requests(requests=[_request(app, store, row) for row in rows])


@router.get("/{request_id}", responses=ERRORS)
def get_request(request_id: UUID, app: App, caller: PrivacyOfficer) -> Request:
    """One request with its deadline and how far each system is."""
    with app.store() as store:
        return _shown(app, store, request_id)


@router.post("/{request_id}/verify", responses=ERRORS)
def verify(request_id: UUID, asked: Proof, app: App, caller: PrivacyOfficer) -> Request:
    """Note how the person proved who they are. An erasure is carried out by the next run after it."""
    with app.store() as store, store.transaction():
        requests.verify(store, request_id, asked.method, caller.name, app.clock())
        return _told(app, store, caller, request_id, "verified")


@router.post("/{request_id}/extend", responses=ERRORS)
def extend(request_id: UUID, asked: Why, app: App, caller: PrivacyOfficer) -> Request:
    """Prolong the deadline once, with the reason that the person is told."""
    with app.store() as store, store.transaction():
        requests.extend(store, app.policy, request_id, asked.reason)
        return _told(app, store, caller, request_id, "extended")


@router.post("/{request_id}/refuse", responses=ERRORS)
def refuse(request_id: UUID, asked: Why, app: App, caller: PrivacyOfficer) -> Request:
    """End a request without doing it, with the reason that the person is told."""
    with app.store() as store, store.transaction():
        requests.refuse(store, request_id, asked.reason, app.clock())
        return _told(app, store, caller, request_id, "refused")


@router.post("/{request_id}/carry-out", responses=ERRORS)
def carry_out(request_id: UUID, app: App, caller: PrivacyOfficer) -> Request:
    """Do what a restriction or an objection asks."""
    with app.store() as store, store.transaction():
        requests.carry_out(store, app.policy, request_id, caller.name, app.clock())
        return _told(app, store, caller, request_id, "carried out")


@router.put("/{request_id}/steps/{system}", responses=ERRORS)
def report_step(request_id: UUID, system: System, asked: StepDone, app: App, caller: PrivacyOfficer) -> Request:
    """Report a correction made at one source; the request is done when all are."""
    with app.store() as store, store.transaction():
        requests.report_step(store, request_id, system, asked.status, asked.reason, app.clock())
        return _told(app, store, caller, request_id, f"step {asked.status}")


@router.get("/{request_id}/export", responses=ERRORS)
def get_export(request_id: UUID, app: App, caller: PrivacyOfficer) -> JSONResponse:
    """Everything held about the person, unmasked, with sources and recipients; only once identity is proven."""
    with app.store() as store:
        with store.transaction():
            row = requests.proven(store, request_id)
            if row["kind"] not in ("access", "portability"):
                raise requests.CannotDo(
                    f"a request of {row['kind']} releases nothing", "open one of access or portability"
                )
            living = requests.living(store, str(row["customer_id"]))
            app.trail.write(store, caller.event("privacy.export", living, details={"request": str(request_id)}))
            stored.set_step(store, request_id, "store", "done", app.clock())
            if row["status"] != "done":
                requests.finish(store, request_id, "exported", app.clock())
        found = export.export(store, app.policy, living, app.clock())
    found |= {"requested_id": str(row["customer_id"]), "request_id": str(request_id)}
    name = f"attachment; filename=customer-{living}.json"
    return JSONResponse(jsonable_encoder(found), headers={"Content-Disposition": name, "Cache-Control": "no-store"})


def _told(app: Context, store: psycopg.Connection, caller: Caller, request_id: UUID, what: str) -> Request:
    shown = _shown(app, store, request_id)
    details = {"request": str(request_id), "kind": shown.kind}
    app.trail.write(store, caller.event(f"privacy.{what}", shown.customer_id, details=details))
    return shown


def _shown(app: Context, store: psycopg.Connection, request_id: UUID) -> Request:
    row = stored.get(store, request_id)
    if row is None:
        raise NotFound("no request has this id")
    return _request(app, store, row)


def _request(app: Context, store: psycopg.Connection, row: dict[str, Any]) -> Request:
    late = row["finished_at"] or app.clock()
    names = set(Request.model_fields) - {"steps", "overdue"}
    values = {name: row[name] for name in names}
    values |= {"request_id": str(row["request_id"]), "customer_id": str(row["customer_id"])}
    return Request.model_validate(
        {**values, "overdue": late > row["due_at"], "steps": stored.steps(store, row["request_id"])}
    )
