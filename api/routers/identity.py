"""Who is who: resolve a person, merge, split, undo, explain, review."""

from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Header, Query

from api import present
from api.context import App, Caller, Context, ProfileReader, Reviewer
from api.identity_schemas import (
    Changed,
    Decide,
    Decided,
    Explanation,
    Groups,
    Merge,
    PairAsked,
    PairOut,
    Person,
    Resolution,
    ReviewPairs,
    Split,
    SplitShown,
    Undo,
    WhatIf,
)  # fmt: skip
from api.problems import Forbidden, responses
from api.reading import living_customer, visible_fields
from api.refs import record_of, ref
from api.view import unchanged
from cdp import corrections, stewardship
from cdp.errors import NotFound
from cdp.loyalty import operations as loyalty
from cdp.loyalty.parting import parted
from cdp.standard.identify import candidates
from cdp.stewardship import Act, Outcome, Refused
from cdp.store import assignment, consents, customers, decisions, evidence, review
from identity import explain, ids, live
from identity.person import Described, values
from identity.scorer import Part

router = APIRouter(prefix="/v1", tags=["identity"])
READS = responses(401, 403, 404, 422, 503)
WRITES = responses(401, 403, 404, 409, 422, 503)
SHOWN = 10


@router.post("/customers/resolve", responses=responses(401, 403, 422, 503))
def resolve(person: Person, app: App, caller: ProfileReader) -> Resolution:
    """Who a partial person is: candidates with a confidence tier and reasons, by the batch's own model. Changes nothing."""
    said = person.model_dump(exclude_none=True)
    if not any(said.values()):
        raise Refused("nothing was said about the person", "give a name, a contact point, a card or an account")
    described = values(Described(**{k: v for k, v in said.items() if k not in ("card", "account")}), app.regions)
    given = [
        pair
        for kind in ("email", "phone", "card", "account")
        if said.get(kind)
        for pair in candidates(kind, said[kind], app.regions)
    ]
    scorer = app.scorer()
    with app.store() as store:
        found = live.resolve(store, scorer, described, given)[:SHOWN]
        shown = [(c, customers.profile(store, c.customer_id)) for c in found]
        consent = consents.materials(store, [c.customer_id for c in found])
    out = [
        {
            "customer_id": c.customer_id, "tier": c.tier, "weight": c.weight, "identifiers": c.identifiers, "reasons": _reasons(c.parts),
            "name": present.profile(stored["profile"], visible_fields(app, caller, consent[c.customer_id]), revealed=False)["name"],
        }
        for c, stored in shown
        if stored is not None
    ]  # fmt: skip
    version = scorer.model.version if scorer else None
    return Resolution.model_validate(
        {"decision": out[0]["tier"] if out else "none", "model_version": version, "candidates": out}
    )


@router.post("/customers/merge", responses=WRITES)
def merge(asked: Merge, app: App, caller: Reviewer) -> Changed:
    """Make customers one, at once and for every later run. Undo by the change set."""
    with app.store() as store, store.transaction():
        named = [assignment.resolve(store, str(customer)) for customer in asked.customer_ids]
        if None in named:
            raise NotFound("no customer has this id")
        done = stewardship.merge(store, [str(customer) for customer in named], _act(app, caller, asked.reason))
        told(app, store, caller, "customer.merge", done)
    return changed(done)


@router.post("/customers/{customer_id}/split", responses=WRITES | responses(412, 428))
def split(
    customer_id: UUID,
    asked: Split,
    app: App,
    caller: Reviewer,
    if_match: Annotated[str | None, Header(max_length=200, description="`ETag` of the customer as it was read")] = None,
) -> Changed:
    """Take records out of a customer, at once and for every later run. `If-Match` guards against what others did meanwhile."""
    now = app.clock()
    with app.store() as store, store.transaction():
        living, stored = living_customer(store, customer_id)
        assignment.lock(store, [living])  # what is compared stands until the split is done
        members = customers.records(store, living)
        unchanged(app.pepper, stored, members, if_match)
        own = [row["record_id"] for row in members]
        records = [record_of(app.pepper, named, own) for named in asked.records]
        done = stewardship.split(store, living, records, _act(app, caller, asked.reason), lambda: ids.uuid7(now))
        told(app, store, caller, "customer.split", done)
    return changed(done)


@router.post("/customers/{customer_id}/split/preview", responses=WRITES)
def preview_split(customer_id: UUID, asked: Split, app: App, caller: Reviewer) -> SplitShown:
    """What a split would do to points, by the split's own code, undone."""
    if not caller.key.allows("loyalty:read"):
        raise Forbidden("this key lacks the scope loyalty:read")
    now = app.clock()
    programme = app.programme.of(app.programme.spends or app.programme.unit)
    act = loyalty.Act(programme, caller.name, now, asked.reason)
    with app.store() as store, store.transaction(force_rollback=True):
        living, _ = living_customer(store, customer_id)
        if reason := visible_fields(app, caller, consents.material(store, living)).withheld.get("loyalty"):
            raise Forbidden(f"points are withheld for the purpose {caller.purpose}: {reason}")
        own = _records(store, living)
        before = loyalty.read(store, living, act)[1]
        records = [record_of(app.pepper, named, own) for named in asked.records]
        stewardship.split(store, living, records, _act(app, caller, asked.reason), lambda: ids.uuid7(now))
        left = store.execute("select customer_id::text from assignment where record_id = %s", [records[0]]).fetchall()[
            0
        ][0]
        found = parted(store, before, [living, left], act)
    sides = [{"customer_id": c, "balance": s.balance, "available": s.available, "held": s.held} for c, s in found.sides]
    shared = [
        {"transaction_id": t.transaction_id, "kind": t.kind, "occurred_at": t.occurred_at, "stays": t.points[0], "leaves": t.points[1]}
        for t in found.shared
    ]  # fmt: skip
    return SplitShown.model_validate(
        {
            "balance_before": before.balance,
            "stays": sides[0],
            "leaves": sides[1] | {"customer_id": None},
            "spent_together": shared,
        }
    )


@router.post("/changesets/{changeset_id}/undo", responses=WRITES)
def undo(changeset_id: UUID, asked: Undo, app: App, caller: Reviewer) -> Changed:
    """Take back a merge, a split or a decision: ids, profiles, balances and consents are as before."""
    with app.store() as store, store.transaction():
        done = corrections.undo(store, changeset_id, _act(app, caller, asked.reason))
        told(app, store, caller, "customer.undo", done)
    return changed(done)


@router.get("/customers/{customer_id}/explanation", responses=READS)
def get_explanation(customer_id: UUID, app: App, caller: ProfileReader) -> Explanation:
    """How this customer was assembled: a merge tree, strongest evidence first, each step with what would be without it."""
    scorer = app.scorer()
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        material = evidence.of_customers(store, [living])
        said = decisions.confirmed(store, material.records)
    steps = [
        {
            "left": present.record(s.left_id, revealed=False), "right": present.record(s.right_id, revealed=False),
            "left_ref": ref(app.pepper, s.left_id), "right_ref": ref(app.pepper, s.right_id), "evidence": s.words, "kind": s.kind,
            "weight": s.weight, "left_size": s.left_size, "right_size": s.right_size, "reasons": _reasons(s.parts),
            "without": [len(group) for group in s.without],
            "confirmed_by": said.get((min(s.left_id, s.right_id), max(s.left_id, s.right_id))),
        }
        for s in explain.assembled(material, scorer)
    ]  # fmt: skip
    records = [{"record_id": present.record(r, revealed=False), "ref": ref(app.pepper, r)} for r in material.records]
    version = scorer.model.version if scorer else None
    return Explanation.model_validate(
        {"customer_id": living, "records": records, "steps": steps, "model_version": version}
    )


@router.post("/customers/{customer_id}/explanation/what-if", responses=READS)
def what_if(customer_id: UUID, asked: WhatIf, app: App, caller: ProfileReader) -> Groups:
    """The groups that would remain if this identifier had never been given. Changes nothing."""
    kind = "order" if asked.type == "order" else asked.type
    pairs = candidates(kind, asked.value, app.regions)
    if not pairs:
        raise Refused(f"this is no {asked.type}", "send the identifier as it is written")
    with app.store() as store:
        living, _ = living_customer(store, customer_id)
        material = evidence.of_customers(store, [living])
    groups = explain.without_identifier(material, app.scorer(), *pairs[0])
    return Groups(groups=[[ref(app.pepper, r) for r in g] for g in groups], sizes=[len(g) for g in groups])


@router.post("/explanations/pair", responses=READS)
def explain_pair(asked: PairAsked, app: App, caller: ProfileReader) -> PairOut:
    """Why two records, or two customers, are one, or why not."""
    with app.store() as store:
        sides = [_side(store, app, named) for named in (asked.left, asked.right)]
        material = evidence.of_customers(store, sorted({customer for customer, _ in sides}))
    one = sides[0][0] == sides[1][0]
    verdict = explain.pair(material, app.scorer(), sides[0][1], sides[1][1], together=one)
    shown = {name: getattr(verdict, name) for name in ("together", "weight", "threshold", "reasons")}
    return PairOut.model_validate({**shown, "fields": _reasons(verdict.parts)})


@router.get("/review/pairs", responses=responses(401, 403, 422, 503))
def get_review(app: App, caller: Reviewer, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> ReviewPairs:
    """Borderline pairs, those first that a decision would move most."""
    with app.store() as store:
        rows, count = review.pairs(store, limit), review.waiting(store)
    shown = [
        {
            "pair_id": _pair_id(app, row), "weight": row["weight"], "impact": row["impact"], "details": row["details"],
            "left": present.record(row["left_id"], revealed=False), "right": present.record(row["right_id"], revealed=False),
        }
        for row in rows
    ]  # fmt: skip
    return ReviewPairs.model_validate({"pairs": shown, "waiting": count})


@router.post("/review/pairs", responses=WRITES)
def decide(asked: Decide, app: App, caller: Reviewer) -> Decided:
    """Decide on a pair: kept as evidence, obeyed by every later run, a label that measures the model."""
    act = _act(app, caller, asked.reason)
    with app.store() as store, store.transaction():
        row = next((row for row in review.pairs(store, None) if _pair_id(app, row) == asked.pair_id), None)
        if row is None:
            raise NotFound("no pair of this id waits for review")
        done = stewardship.decide(store, row["left_id"], row["right_id"], asked.verdict, row["weight"], act)
        told(app, store, caller, f"review.{asked.verdict}", done)
    effective = "now" if asked.verdict == "same" else "next run"
    return Decided.model_validate({**changed(done).model_dump(), "effective": effective, "at": act.now})


def _act(app: Context, caller: Caller, reason: str) -> Act:
    return Act(caller.name, reason, app.clock())


def told(app: Context, store: psycopg.Connection, caller: Caller, action: str, done: Outcome) -> None:
    """Write what was done to the audit log, in the transaction that does it."""
    details = {"changeset": str(done.changeset_id), "moved": done.moved}
    concerned: list[str | None] = [*done.customers] or [None]
    for customer in concerned:
        app.trail.write(store, caller.event(action, customer, details=details))


def changed(done: Outcome) -> Changed:
    """What an act did, as the API says it."""
    return Changed(
        changeset_id=done.changeset_id, customers=done.customers, moved=done.moved, left_alone=len(done.left)
    )


def _reasons(parts: list[Part]) -> list[dict[str, Any]]:
    return [
        {"field": p.comparison, "says": p.label, "weight": round(p.weight, 3)}
        for p in sorted(parts, key=lambda p: -abs(p.weight))
    ]


def _records(store: psycopg.Connection, customer: str) -> list[str]:
    return [row["record_id"] for row in customers.records(store, customer)]


def _side(store: psycopg.Connection, app: Context, named: str) -> tuple[str, str]:
    """(customer, record) that a customer id or record id names; a customer stands for its first record."""
    try:
        customer, _ = living_customer(store, UUID(named))
    except ValueError:
        found = customers.lookup(store, [[("record", named)]], 1)
        if not found:
            raise NotFound("no contact record has this id") from None
        return found[0]["customer_id"], named
    return customer, _records(store, customer)[0]


def _pair_id(app: Context, row: dict[str, Any]) -> str:
    return ref(app.pepper, f"{row['left_id']}|{row['right_id']}")
