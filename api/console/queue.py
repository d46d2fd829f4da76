"""The steward's queue: one borderline pair at a time, by keyboard, those first that a decision would move most."""

from typing import Any
from uuid import UUID

import psycopg
from fastapi import APIRouter
from fastapi.responses import Response

from api import present
from api.console.actions import Unsaid
from api.console.visit import Steward
from api.console.why import FIELDS, masked
from api.context import as_uuid
from api.identity_schemas import Decide, PairAsked, Undo
from api.routers import identity as api
from cdp.store import customers, review

router = APIRouter()
VERDICTS = ("same", "different", "unsure")


@router.get("/queue")
def queue(visit: Steward) -> Response:
    """The pair that matters most, side by side, with what speaks for and against, and how far the steward is."""
    app, scorer = visit.app, visit.app.scorer()
    with app.store() as store:
        rows, waiting = review.pairs(store, 1), review.waiting(store)
        row = rows[0] if rows else None
        sides = [side(store, row[name]) for name in ("left_id", "right_id")] if row else []
        tally = review.tally(store, visit.caller.name, scorer.model.threshold if scorer else None, app.clock())
    pair = api.get_review(app, visit.caller, 1).pairs[0] if row else None
    said = api.explain_pair(PairAsked(left=row["left_id"], right=row["right_id"]), app, visit.caller) if row else None
    return visit.page("queue.html", pair=pair, sides=sides, said=said, fields=FIELDS, waiting=waiting, tally=tally)


@router.post("/queue")
def decide(visit: Steward) -> Response:
    """The steward's word; the next pair comes at once."""
    verdict = visit.said("verdict")
    if verdict not in VERDICTS:
        raise Unsaid("choose: the same person, two people, or not sure")
    asked = Decide(
        pair_id=visit.said("pair_id"), verdict=verdict, reason=visit.said("reason") or "reviewed in the queue"
    )
    done = api.decide(asked, visit.app, visit.caller)
    answer = visit.back("/queue", f"said_{verdict}")
    answer.set_cookie(
        "cdp_last", str(done.changeset_id), max_age=600, path="/console", httponly=True, samesite="strict"
    )
    return answer


@router.post("/queue/undo")
def undo(visit: Steward) -> Response:
    """Take the last word back; the pair returns with the next run."""
    last = visit.request.cookies.get("cdp_last", "")
    if as_uuid(last) is None:
        raise Unsaid("there is nothing to take back")
    api.undo(UUID(last), Undo(reason="taken back in the queue"), visit.app, visit.caller)
    return visit.back("/queue", "undone")


def side(store: psycopg.Connection, record: str) -> dict[str, Any]:
    """One record of the pair, masked; the masks of equal values are equal, and `raw` only says where they agree."""
    row = customers.record(store, record)
    said = {name: (row["fields"] if row else {}).get(name) for name in FIELDS}
    return {
        "record_id": present.record(record, revealed=False), "source": row["source"] if row else "", "raw": said,
        "last_seen": row["last_seen"] if row else None,
        "values": masked(said),
    }  # fmt: skip
