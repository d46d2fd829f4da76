"""Audiences: whom a purpose may reach. Consent is computed for every page, never taken from a list made earlier."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import APIRouter, Query
from fastapi import Path as PathOf
from fastapi.responses import StreamingResponse

from api import export, present
from api.context import App, AudienceReader, Caller, Context
from api.privacy_schemas import Audience, AudienceInfo, Member
from api.problems import Forbidden, responses
from api.reading import visible_fields
from cdp.consent.fields import Visible
from cdp.consent.resolve import Material
from cdp.derived import audiences
from cdp.derived.audiences import closed
from cdp.errors import NotFound
from cdp.loyalty.recall import tiers
from cdp.store import consents, customers, derived, scores

router = APIRouter(prefix="/v1/audiences", tags=["consent"])
CURSOR = Query(description="`next` of the page before")
Reveal = Annotated[bool, Query(description="Contact points and values unmasked; needs profiles:reveal")]
PAGE = 500  # customers that an export looks at together


@router.get("", responses=responses(401, 403, 422, 503))
def list_audiences(app: App, caller: AudienceReader) -> list[AudienceInfo]:
    """The audiences of `audiences.yaml`, with how many were members when they were last told."""
    with app.store() as store:
        sizes = derived.sizes(store)
    return [
        AudienceInfo(audience=name, purpose=rule.purpose, members=sizes.get(name, 0))
        for name, rule in app.audiences.audiences.items()
    ]


@router.get("/members", responses=responses(401, 403, 422, 503))
def members(
    app: App,
    caller: AudienceReader,
    cursor: Annotated[UUID | None, CURSOR] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    country: Annotated[str | None, Query(pattern="^[A-Z]{2}$")] = None,
    reveal: Reveal = False,
) -> Audience:
    """Known customers that the call's purpose may reach, in pages by id, with those left out counted by reason."""
    _may_reveal(caller, reveal=reveal)
    rule = audiences.Audience(purpose=caller.purpose, country=(country,) if country else ())
    return _page(app, caller, "members", rule, str(cursor) if cursor else None, limit, reveal=reveal)


@router.get(
    "/{audience}/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file, as it is written",
            "content": {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in export.MEDIA_TYPES.values()},
        },
        **responses(401, 403, 404, 422, 503),
    },
)
def export_audience(
    audience: Annotated[str, PathOf(pattern=audiences.NAME)],
    app: App,
    caller: AudienceReader,
    format: Annotated[export.Format, Query(description="As what it is written")] = "ndjson",
    reveal: Reveal = False,
    told: Annotated[
        bool,
        Query(description="Whom audience.entered and audience.left made its members so far: where a subscriber begins"),
    ] = False,
) -> StreamingResponse:
    """Everyone whom an audience holds now. The call's purpose must be the audience's; consent is asked as the file is written."""
    _may_reveal(caller, reveal=reveal)
    rule = app.audiences.audiences.get(audience)
    if rule is None:
        raise NotFound("no audience has this name", "GET /v1/audiences lists them")
    if rule.purpose != caller.purpose:
        raise Forbidden(f"this audience is for the purpose {rule.purpose}, the call is for {caller.purpose}")
    first = _page(
        app, caller, audience, rule, None, PAGE, reveal=reveal, told=told
    )  # what fails at once is answered as a problem

    def pages() -> Iterator[list[dict[str, Any]]]:
        page = first
        while True:
            yield [member.model_dump() for member in page.members]
            if page.next is None:
                return
            page = _page(app, caller, audience, rule, page.next, PAGE, reveal=reveal, told=told)

    fields = [name for name in present.FIELDS if name in app.policy.purposes[rule.purpose].fields]
    return StreamingResponse(
        export.written(pages(), fields, format),
        media_type=export.MEDIA_TYPES[format],
        headers={"Content-Disposition": f'attachment; filename="{audience}.{format}"'},
    )


def _may_reveal(caller: Caller, *, reveal: bool) -> None:
    if reveal and not caller.key.allows("profiles:reveal"):
        raise Forbidden("this key lacks the scope profiles:reveal")


def _page(
    app: Context,
    caller: Caller,
    name: str,
    rule: audiences.Audience,
    after: str | None,
    limit: int,
    *,
    reveal: bool,
    told: bool = False,
) -> Audience:
    """Those of the next known customers whom the audience holds and the purpose may reach; audited before anybody sees them."""
    now, found, left_out = app.clock(), list[Member](), dict[str, int]()
    with app.store() as store:
        page = customers.known_after(store, after, limit + 1, [] if told else list(rule.country))
        ids = [row["customer_id"] for row in page[:limit]]
        consent = consents.materials(store, ids)
        held = _held(app, store, name, rule, page[:limit], consent, now, told=told)
        for row in page[:limit]:
            if row["customer_id"] not in held:
                continue
            known = consent[row["customer_id"]]
            seen = visible_fields(app, caller, known)
            if reason := closed(app.policy, caller.purpose, seen):
                left_out[reason] = left_out.get(reason, 0) + 1
            else:
                found.append(_member(row, known, seen, app, reveal=reveal))
        details = {"audience": name, "members": [member.customer_id for member in found], "revealed": reveal}
        app.trail.write(store, caller.event("audience.export", details=details))
    more = ids[-1] if len(page) > limit else None
    return Audience(purpose=caller.purpose, members=found, withheld=left_out, next=more)


def _held(
    app: Context,
    store: psycopg.Connection,
    name: str,
    rule: audiences.Audience,
    rows: list[customers.Row],
    consent: dict[str, Material],
    now: datetime,
    *,
    told: bool,
) -> set[str]:
    """Whom of these the audience holds, consent aside: by its rules now, or by what was told."""
    ids = [row["customer_id"] for row in rows]
    if told:
        return {customer for audience, customer in derived.memberships(store, ids) if audience == name}
    tier = tiers(store, ids, app.programme, now) if rule.tiers else {}
    scored = scores.of_customers(store, ids) if rule.segments else {}
    segments = audiences.usable_segments(scored, consent, app.policy, app.insight.purpose, now)
    return {
        row["customer_id"]
        for row in rows
        if rule.holds(row["profile"], tier.get(row["customer_id"]), now, segments.get(row["customer_id"], ()))
    }


def _member(row: customers.Row, known: Material, seen: Visible, app: Context, *, reveal: bool) -> Member:
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
