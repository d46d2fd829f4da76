"""Consent of one customer: read as of any time, recorded, withdrawn, signalled."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Header, Query, Request, Response

from api import present
from api.context import App, Caller, ConsentReader, ConsentWriter, Context
from api.privacy_schemas import Decide, Link, LinkAsked, Recorded, Withdraw
from api.problems import responses
from api.reading import living_customer, revealing
from api.routers.customers import Reason, Reveal
from api.schemas import Consents, Moment
from cdp.consent import recording
from cdp.consent.recording import CannotRecord, Said
from cdp.consent.resolve import Decision, Material
from cdp.privacy.unsubscribe import token
from cdp.standard.identify import candidates
from cdp.store import consents
from cdp.store.consents import Evidence

router = APIRouter(prefix="/v1/customers", tags=["consent"])
READS = responses(401, 403, 404, 422, 503)
WRITES = responses(401, 403, 404, 422, 503)
AsOf = Annotated[Moment | None, Query(description="What was allowed then; now where left out")]
KnownAt = Annotated[
    Moment | None, Query(description="By what was known then: later records and decisions are left out")
]


@router.get("/{customer_id}/consents", responses=READS)
def get_consents(
    customer_id: UUID, app: App, caller: ConsentReader, as_of: AsOf = None, known_at: KnownAt = None, reveal: Reveal = False,
    reason: Reason = None,
) -> Consents:  # fmt: skip
    """Effective consent for every purpose and contact point, computed from the decisions: now, or as of any time."""
    now = app.clock()
    for moment in (as_of, known_at):
        if moment is not None and moment > now:
            raise CannotRecord("a time in the future cannot be asked for", "leave it out for now")
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        if reveal:
            revealing(app, store, caller, "consents.reveal", living, reason)
        known = consents.material(store, str(customer_id) if known_at else living, known_at)
    moment = as_of or known_at or now
    flags = present.flags(known, app.policy, moment, revealed=reveal)
    return Consents.model_validate({"customer_id": living, "as_of": moment, "known_at": known_at, "consents": flags})


@router.post(
    "/{customer_id}/consents",
    status_code=201,
    responses=WRITES | {200: {"description": "Known before", "model": Recorded}},
)
def record(customer_id: UUID, asked: Decide, app: App, caller: ConsentWriter, response: Response) -> Recorded:
    """Record what a person said. The same once more adds nothing (and answers 200)."""
    said = asked.model_dump(exclude={"contact_point", "notice_version", "evidence"})
    done = _record(
        app,
        caller,
        customer_id,
        asked.contact_point,
        said,
        Evidence(caller.name, asked.notice_version, None, asked.evidence),
    )
    response.status_code = 201 if done.decisions else 200
    return done


@router.post("/{customer_id}/consents/withdraw", status_code=201, responses=WRITES)
def withdraw(customer_id: UUID, asked: Withdraw, app: App, caller: ConsentWriter) -> Recorded:
    """Withdraw: a purpose is enough. Without a contact point it holds for all of them."""
    said = {"purpose": asked.purpose, "status": "withdrawn", "method": asked.method}
    return _record(app, caller, customer_id, asked.contact_point, said, Evidence(caller.name))


@router.post("/{customer_id}/signals", status_code=201, responses=WRITES)
def signal(
    customer_id: UUID, app: App, caller: ConsentWriter, sec_gpc: Annotated[str | None, Header(max_length=20)] = None
) -> Recorded:
    """Pass on a visitor's `Sec-GPC: 1`: sale, sharing and targeted advertising are denied, nothing else."""
    with app.store() as store, store.transaction():
        living, _ = living_customer(store, customer_id)
        if not recording.gpc(sec_gpc):
            raise CannotRecord("no signal came with this call", "pass on the visitor's header 'Sec-GPC: 1'")
        known = consents.material(store, living)
        made = recording.signalled("gpc", known, app.policy, app.clock(), "api")
        return _written(app, store, caller, living, made, Evidence(caller.name, evidence={"header": "Sec-GPC: 1"}))


@router.post("/{customer_id}/unsubscribe-links", status_code=201, responses=WRITES)
def link(customer_id: UUID, asked: LinkAsked, app: App, caller: ConsentWriter, request: Request) -> Link:
    """The one-click unsubscribe headers (RFC 8058) of a message to one address."""
    with app.store() as store, store.transaction():
        living, _ = living_customer(store, customer_id)
        known = consents.material(store, living)
        point = _point(app, asked.purpose, asked.contact_point)
        checked = recording.decisions(Said(asked.purpose, "withdrawn", "", "", point), known, app.policy, app.clock())
        name = token(app.pepper, asked.purpose, checked[0].subject)
        consents.unsubscribe_link(store, name, asked.purpose, checked[0].subject_type, checked[0].subject)
        app.trail.write(store, caller.event("consent.link", living, details={"purpose": asked.purpose}))
    path = f"/v1/unsubscribe/{name}"
    url = f"{(app.workspace.settings.public_url or str(request.base_url)).rstrip('/')}{path}"
    return Link(path=path, list_unsubscribe=f"<{url}>", list_unsubscribe_post="List-Unsubscribe=One-Click")


def _record(
    app: Context, caller: Caller, customer_id: UUID, point: str | None, said: dict[str, Any], evidence: Evidence
) -> Recorded:
    with app.store() as store, store.transaction():
        living, _ = living_customer(store, customer_id)
        known = consents.material(store, living)
        answer = Said(source="api", point=_point(app, said["purpose"], point) if point else None, **said)
        made = recording.decisions(answer, known, app.policy, app.clock())
        return _written(app, store, caller, living, made, evidence)


def _written(
    app: Context, store: psycopg.Connection, caller: Caller, living: str, made: list[Decision], evidence: Evidence
) -> Recorded:
    """Decisions, change feed and audit row in one transaction; the flags as they are then."""
    now = app.clock()
    consents.hold(store, living)
    added = consents.record(store, made, evidence, now)
    if added:
        consents.tell(store, [living], [(d.subject_type, d.subject) for d in added], now)
    details = {"said": sorted({f"{d.purpose}: {d.status}" for d in made}), "decisions": len(added)}
    app.trail.write(store, caller.event("consent.decision", living, details=details))
    flags = _flags(consents.material(store, living), app, now)
    return Recorded.model_validate(
        {"customer_id": living, "decisions": [d.decision_id for d in added], "consents": flags}
    )


def _flags(known: Material, app: Context, now: datetime) -> list[dict[str, Any]]:
    return present.flags(known, app.policy, now, revealed=False)


def _point(app: Context, purpose: str, given: str) -> str:
    kind = app.policy.purposes[purpose].point if purpose in app.policy.purposes else None
    pairs = candidates(kind, given, app.regions) if kind else [("", given)]
    if not pairs:
        raise CannotRecord(f"this is no {kind}", "send the contact point as it is written")
    return pairs[0][1]
