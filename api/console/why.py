"""Why records are one customer, and what stewards change about it: with a preview, and an undo."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
from fastapi import APIRouter
from fastapi.responses import Response

from api import present
from api.console.actions import Unsaid
from api.console.search import found
from api.console.search import shown as listed
from api.console.visit import Agent, Steward, Visit
from api.context import as_uuid
from api.identity_schemas import Merge, Split, Undo
from api.loyalty import acting
from api.reading import living_customer, revealing, visible_fields
from api.refs import record_of, ref
from api.routers import identity as api
from api.view import who
from cdp import mask, stewardship
from cdp.consent.flags import customer_flags
from cdp.loyalty import operations
from cdp.loyalty.recall import tiers
from cdp.stewardship import Act
from cdp.store import consents, customers, decisions
from identity import ids

router = APIRouter()
HIDE = {**present.HIDDEN, "given_name": mask.text, "family_name": mask.text}
FIELDS = ("given_name", "family_name", "birth_date", "email", "phone", "postal_code", "city", "country")
MOST_SHOWN = 300
NOBODY = "00000000-0000-0000-0000-000000000000"


@router.get("/customers/{customer_id}/why")
def why(visit: Agent, customer_id: UUID) -> Response:
    """The records side by side, and the merge tree: each link in words, with its weight and what would be without it."""
    app = visit.app
    explained = api.get_explanation(customer_id, app, visit.caller)
    living = explained.customer_id
    with app.store() as store:
        revealed = visit.revealed(store, living)
        if revealed is not None:
            revealing(app, store, visit.caller, "profile.reveal.records", living, revealed[1])
        rows, count = side_by_side(store, app.pepper, living, revealed=revealed is not None)
        done = decisions.of_customer(store, living)
    return visit.page(
        "why.html",
        explained=explained,
        rows=rows,
        more=count - len(rows),
        changes=done,
        customer_id=living,
        fields=FIELDS,
        revealed=revealed is not None,
    )


@router.post("/customers/{customer_id}/split")
def split(visit: Steward, customer_id: UUID) -> Response:
    """Not the same person: what would change first, then the deed."""
    named, reason = visit.all_said("record"), visit.said("reason")
    if not named:
        raise Unsaid("tick the records that are somebody else's")
    app = visit.app
    if visit.said("confirm") == "yes":
        if not reason:
            raise Unsaid("say how you know")
        api.split(customer_id, Split(records=named, reason=reason), app, visit.caller, visit.said("tag") or None)
        return visit.back(f"/customers/{customer_id}/why", "split")
    with app.store() as store:
        living, stored = living_customer(store, customer_id)
        members = customers.records(store, living)
        records = [record_of(app.pepper, name, [row["record_id"] for row in members]) for name in named]
        tag = f'"{who(app.pepper, stored, members)}"'

    def deed(store: psycopg.Connection, act: Act) -> None:
        stewardship.split(store, living, records, act, lambda: ids.uuid7(act.now))

    before, after = previewed(visit, [living], deed, records)
    return visit.page(
        "preview.html", kind="split", customer_id=living, before=before, after=after, named=named, others=[], tag=tag
    )


@router.post("/customers/{customer_id}/merge")
def merge(visit: Steward, customer_id: UUID) -> Response:
    """Also the same: find the other customer, see what would change, then the deed."""
    app, other, reason = visit.app, visit.said("other"), visit.said("reason")
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        rows = found(visit, store, visit.said("q"))[0] if not other else []
        others = [row for row in listed(visit, store, rows) if row["customer_id"] != living]
        if other:
            other, _ = living_customer(store, UUID(as_uuid(other) or NOBODY))
    if not other:
        return visit.page("pick.html", customer_id=living, rows=others, asked=visit.said("q"))
    if visit.said("confirm") == "yes":
        if not reason:
            raise Unsaid("say how you know")
        done = api.merge(Merge(customer_ids=[UUID(living), UUID(other)], reason=reason), app, visit.caller)
        return visit.back(f"/customers/{done.customers[0]}/why", "merged_now")

    def deed(store: psycopg.Connection, act: Act) -> None:
        stewardship.merge(store, [living, other], act)

    before, after = previewed(visit, [living, other], deed, [])
    return visit.page(
        "preview.html", kind="merge", customer_id=living, before=before, after=after, named=[], others=[other], tag=""
    )


@router.post("/changesets/{changeset_id}/undo")
def undo(visit: Steward, changeset_id: UUID) -> Response:
    """Take a merge, a split or a decision back: ids, profiles, balances and consents are as before."""
    done = api.undo(changeset_id, Undo(reason=visit.said("reason") or "undone in the console"), visit.app, visit.caller)
    back = visit.said("customer_id")
    living = back if back in done.customers or not done.customers else done.customers[0]
    return visit.back(f"/customers/{living}/why", "undone_partly" if done.left_alone else "undone")


def side_by_side(
    store: psycopg.Connection, pepper: str, customer: str, *, revealed: bool
) -> tuple[list[dict[str, Any]], int]:
    """Records with their values, masked unless revealed, and how many there are; `differs`: the fields in which one is not as others."""
    rows = customers.raw_records(store, customer)
    values = {name: {row["fields"].get(name) for row in rows} - {None} for name in FIELDS}
    made = []
    for row in rows[:MOST_SHOWN]:
        said = {name: row["fields"].get(name) for name in FIELDS}
        shown = said if revealed else masked(said)
        made.append(
            {
                "record_id": present.record(row["record_id"], revealed=revealed), "ref": ref(pepper, row["record_id"]), "source": row["source"],
                "kind": row["kind"], "last_seen": row["last_seen"], "link_weight": row["link_weight"], "values": shown,
                "differs": [name for name in FIELDS if said[name] is not None and len(values[name]) > 1],
            }
        )  # fmt: skip
    return made, len(rows)


def masked(said: dict[str, Any]) -> dict[str, Any]:
    """The values of a record as they look to those who may not see them."""
    return {name: HIDE[name](value) if name in HIDE else value for name, value in said.items()}


def previewed(
    visit: Visit, concerned: list[str], deed: Callable[[psycopg.Connection, Act], None], moved: list[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Profile, consent and points before and after, by the deed's own code, which is taken back."""
    app = visit.app
    act = Act(visit.caller.name, "preview", app.clock())
    with app.store() as store, store.transaction(force_rollback=True):
        before = [standing(visit, store, customer) for customer in concerned]
        deed(store, act)
        named = [*concerned, *_holders(store, moved)]
        living = [customer for customer in dict.fromkeys(named) if customers.exists(store, customer)]
        after = [standing(visit, store, customer) for customer in living]
    return before, after


def _holders(store: psycopg.Connection, records: list[str]) -> list[str]:
    rows = store.execute(
        "select distinct customer_id::text from assignment where record_id = any(%s)", [records]
    ).fetchall()
    return [row[0] for row in rows]


def standing(visit: Visit, store: psycopg.Connection, customer: str) -> dict[str, Any]:
    """A customer as a preview shows it."""
    app, caller = visit.app, visit.caller
    stored = customers.profile(store, customer)
    assert stored is not None
    known = consents.material(store, customer)
    seen = visible_fields(app, caller, known)
    flags = list(customer_flags(known, app.policy, app.clock()))
    stands = operations.read(store, customer, acting(app, caller, "preview"))[1]
    return {
        "customer_id": customer,
        "records": len(customers.records(store, customer)),
        "profile": present.profile(stored["profile"], seen, revealed=False),
        "orders": stored["profile"]["orders"],
        "allowed": sorted({f.purpose for f in flags if f.allowed}),
        "refused": sorted({f.purpose for f in flags if not f.allowed}),
        "conflicts": sorted({f.purpose for f in flags if f.conflict}),
        "balance": stands.balance,
        "tier": tiers(store, [customer], app.programme, app.clock()).get(customer),
    }
