"""Audiences: whom a purpose may reach. Consent is computed for every page, never taken from a list made earlier."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api import present
from api.context import App, AudienceReader
from api.privacy_schemas import Audience, Member
from api.problems import Forbidden, responses
from api.reading import visible_fields
from cdp.consent.fields import Visible
from cdp.consent.resolve import Material
from cdp.store import consents, customers

router = APIRouter(prefix="/v1/audiences", tags=["consent"])
CURSOR = Query(description="`next` of the page before")


@router.get("/members", responses=responses(401, 403, 422, 503))
def members(
    app: App,
    caller: AudienceReader,
    cursor: Annotated[UUID | None, CURSOR] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    country: Annotated[str | None, Query(pattern="^[A-Z]{2}$")] = None,
    reveal: Annotated[bool, Query(description="Contact points and values unmasked; needs profiles:reveal")] = False,
) -> Audience:
    """Known customers that the call's purpose may reach, in pages by id, with those left out counted by reason."""
    if reveal and not caller.key.allows("profiles:reveal"):
        raise Forbidden("this key lacks the scope profiles:reveal")
    with app.store() as store:
        page = customers.known_after(store, str(cursor) if cursor else None, limit + 1, country)
        ids = [row["customer_id"] for row in page[:limit]]
        consent = consents.materials(store, ids)
    found, left_out = [], dict[str, int]()
    for row in page[:limit]:
        known = consent[row["customer_id"]]
        seen = visible_fields(app, caller, known)
        if reason := _closed(app, caller.purpose, seen):
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            found.append(_member(row, known, seen, app, reveal=reveal))
    details = {"members": [member.customer_id for member in found], "revealed": reveal}
    with app.store() as store:
        app.trail.write(store, caller.event("audience.export", details=details))
    more = ids[-1] if len(page) > limit else None
    return Audience(purpose=caller.purpose, members=found, withheld=left_out, next=more)


def _closed(app: App, purpose: str, seen: Visible) -> str | None:
    """Why nothing of a customer may be used for this purpose; None where something may."""
    allowed = [name for name in app.policy.purposes[purpose].fields if name not in seen.withheld]
    return (
        None
        if allowed
        else next(
            (r for n, r in seen.withheld.items() if n in app.policy.purposes[purpose].fields), "not_for_this_purpose"
        )
    )


def _member(row: customers.Row, known: Material, seen: Visible, app: App, *, reveal: bool) -> Member:
    kind = app.policy.purposes[seen.purpose].point
    points = [p for p in known.points.get(kind or "", []) if seen.points is not None and p in seen.points]
    shown = present.profile(row["profile"], seen, revealed=reveal)
    values = {n: shown[n]["value"] for n in shown if n != "name" and not shown[n].get("withheld")}
    if not shown["name"].get("withheld"):
        values["name"] = shown["name"]["full_name"]
    return Member(
        customer_id=row["customer_id"],
        contact_points=[present.point(point, revealed=reveal) or "" for point in points],
        fields=values,
    )
