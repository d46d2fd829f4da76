"""What an agent does on a customer's page: each form is one call of the function behind the API's endpoint."""

import re
from decimal import Decimal
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from api.console.visit import Agent, ConsentTaker, Editor, Revealer, Teller, Visit
from api.identity_schemas import Correction
from api.loyalty_schemas import Correct, Decide, Spend
from api.privacy_schemas import Withdraw
from api.reading import living_customer, revealing
from api.refs import ref
from api.routers import consents as consent_api
from api.routers import corrections as corrections_api
from api.routers import loyalty as points_api
from cdp import access
from cdp.corrections import FIELDS as CORRECTED
from cdp.errors import Invalid, NotFound
from cdp.store import consents, customers, notes, users

router = APIRouter()
REASONS = ("caller_asked", "checking_identity", "correcting_data", "complaint", "fraud_check")
LONGEST_NOTE = 2_000
AMOUNT = re.compile(r"[0-9]{1,12}([.][0-9]{1,6})?")


class Unsaid(Invalid):
    """A form that lacks what it needs."""


@router.post("/customers/{customer_id}/reveal")
def reveal(visit: Revealer, customer_id: UUID) -> Response:
    """See the values unmasked for some minutes; the reason is audited, the values are not."""
    app, reason = visit.app, visit.said("reason")
    if reason not in REASONS:
        raise Unsaid("choose why you need to see this")
    with app.store() as store, store.transaction():
        living, _ = living_customer(store, customer_id)
        revealing(app, store, visit.caller, "profile.reveal.opened", living, reason)
        users.reveal(store, visit.session.token_hash, living, app.clock() + access.REVEALED_FOR, reason)
    return visit.back(f"/customers/{living}")


@router.post("/customers/{customer_id}/hide")
def hide(visit: Agent, customer_id: UUID) -> Response:
    """Mask again at once."""
    with visit.app.store() as store:
        users.hide(store, visit.session.token_hash, str(customer_id))
    return visit.back(f"/customers/{customer_id}")


@router.post("/customers/{customer_id}/withdraw")
def withdraw(visit: ConsentTaker, customer_id: UUID) -> Response:
    """One click: the person said no."""
    app, named = visit.app, visit.said("point")
    point = None
    if named:
        with app.store() as store:
            known = consents.material(store, living_customer(store, customer_id)[0])
        point = next((p for held in known.points.values() for p in held if ref(app.pepper, p) == named), None)
        if point is None:
            raise NotFound("this contact point is not the customer's any more")
    asked = Withdraw(purpose=visit.said("purpose"), contact_point=point, method="agent")
    consent_api.withdraw(customer_id, asked, app, visit.caller)
    return visit.back(f"/customers/{customer_id}#consent", "withdrawn")


@router.post("/customers/{customer_id}/redeem")
def redeem(visit: Teller, customer_id: UUID) -> Response:
    """Spend points for the person on the phone."""
    asked = Spend(points=amount(visit, "points"), reason=visit.said("reason") or "redeem")
    points_api.redeem(customer_id, asked, visit.app, visit.caller, visit.once())
    return visit.back(f"/customers/{customer_id}#loyalty", "redeemed")


@router.post("/customers/{customer_id}/goodwill")
def goodwill(visit: Teller, customer_id: UUID) -> Response:
    """Give points with a reason; above the programme's limit somebody else has to approve them."""
    if not visit.said("reason"):
        raise Unsaid("say why the points are given")
    asked = Correct(points=amount(visit, "points"), reason=visit.said("reason"))
    answer = points_api.adjust(customer_id, asked, visit.app, visit.caller, visit.once())
    waits = isinstance(answer, dict) and "approval_id" in answer
    return visit.back(f"/customers/{customer_id}#loyalty", "asked" if waits else "given")


@router.post("/customers/{customer_id}/approvals/{approval_id}")
def approve(visit: Teller, customer_id: UUID, approval_id: UUID) -> Response:
    """Approve or refuse what somebody else asked for."""
    yes = visit.said("answer") == "approve"
    points_api.decide(approval_id, Decide(approve=yes), visit.app, visit.caller, visit.once())
    return visit.back(f"/customers/{customer_id}#loyalty", "approved" if yes else "refused")


@router.post("/customers/{customer_id}/correct")
def correct(visit: Editor, customer_id: UUID) -> Response:
    """Correct what the person says is wrong; at once, and in every later run."""
    said = {name: visit.said(name) for name in CORRECTED if visit.said(name)}
    asked = Correction.model_validate({**said, "reason": visit.said("reason") or "said on the phone"})
    corrections_api.correct(customer_id, asked, visit.app, visit.caller)
    return visit.back(f"/customers/{customer_id}", "corrected")


@router.post("/customers/{customer_id}/correct/{changeset_id}/undo")
def take_back(visit: Editor, customer_id: UUID, changeset_id: UUID) -> Response:
    """Take a correction back."""
    corrections_api.take_back(customer_id, changeset_id, visit.app, visit.caller)
    return visit.back(f"/customers/{customer_id}", "correction_undone")


@router.post("/customers/{customer_id}/notes")
def note(visit: Editor, customer_id: UUID) -> Response:
    """Write a note, or set a flag that others must see."""
    app, flag, text = visit.app, visit.said("flag"), visit.said("text")[:LONGEST_NOTE]
    if flag and flag not in notes.FLAGS:
        raise Unsaid("there is no such flag")
    if not flag and not text:
        raise Unsaid("write something, or choose a flag")
    with app.store() as store, store.transaction():
        living, _ = living_customer(store, customer_id)
        record = customers.anchor(store, living)
        if record is None:
            raise NotFound("no customer has this id")
        made = notes.add(store, record, flag or None, text, visit.user.name, app.clock())
        app.trail.write(store, visit.caller.event("note.added", living, details={"note": made, "flag": flag or None}))
    return visit.back(f"/customers/{living}#notes", "noted")


@router.post("/customers/{customer_id}/notes/{note_id}/remove")
def remove_note(visit: Editor, customer_id: UUID, note_id: UUID) -> Response:
    """Take a note away; it is kept, with who took it."""
    app = visit.app
    with app.store() as store, store.transaction():
        living, _ = living_customer(store, customer_id)
        if notes.remove(store, str(note_id), living, visit.user.name, app.clock()):
            app.trail.write(store, visit.caller.event("note.removed", living, details={"note": str(note_id)}))
    return visit.back(f"/customers/{living}#notes", "note_removed")


def amount(visit: Visit, name: str) -> int:
    """Points of the form, in the smallest parts that the ledger counts.

    Raises:
        Unsaid: If it is no number above nothing, or has more decimal places than the programme's points.
    """
    text, scale = visit.said(name), visit.app.programme.terms.scale
    parts = Decimal(text).scaleb(scale) if AMOUNT.fullmatch(text) else Decimal(0)
    if not 0 < parts <= 1_000_000_000 or parts != int(parts):
        raise Unsaid("write a number of points above 0" if scale else "write a whole number of points above 0")
    return int(parts)
