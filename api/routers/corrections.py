"""What is wrong about a person, corrected: a record of its own that the profile trusts most, undone by its change set."""

from uuid import UUID

from fastapi import APIRouter

from api.context import App, ProfileWriter
from api.identity_schemas import Changed, Correction
from api.problems import responses
from api.reading import living_customer
from api.routers.identity import changed, told
from cdp import corrections
from cdp.errors import NotFound
from cdp.stewardship import Act
from cdp.store import decisions

router = APIRouter(prefix="/v1/customers", tags=["customers"])
WRITES = responses(401, 403, 404, 409, 422, 503)


@router.post("/{customer_id}/corrections", status_code=201, responses=WRITES)
def correct(customer_id: UUID, asked: Correction, app: App, caller: ProfileWriter) -> Changed:
    """Correct a name, e-mail, phone or address. Nothing is overwritten: what the other records say stays beside it."""
    act = Act(caller.name, asked.reason, app.clock())
    with app.store() as store, store.transaction():
        living, _ = living_customer(store, customer_id)
        said = asked.model_dump(exclude={"reason"}, exclude_none=True)
        done = corrections.correct(store, living, said, app.regions, act)
        told(app, store, caller, "customer.correct", done)
    return changed(done)


@router.delete("/{customer_id}/corrections/{changeset_id}", responses=WRITES)
def take_back(customer_id: UUID, changeset_id: UUID, app: App, caller: ProfileWriter) -> Changed:
    """Take a correction back: the profile is as if it had never been."""
    with app.store() as store, store.transaction():
        living_customer(store, customer_id)
        found = decisions.changeset(store, changeset_id)
        if found is None or found["kind"] != corrections.KIND:
            raise NotFound("no correction has this id")
        done = corrections.undo(store, changeset_id, Act(caller.name, "taken back", app.clock()))
        told(app, store, caller, "customer.correction.undo", done)
    return changed(done)
