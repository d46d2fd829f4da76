"""The change feed: what changed about whom, in an order that has no holes."""

import time
from datetime import datetime
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from api.context import App, ChangesReader, Context
from api.problems import responses
from api.schemas import ID, Model
from cdp.store import feed
from cdp.store.changes import Type

router = APIRouter(prefix="/v1", tags=["changes"])
LOOK_EVERY = 0.2  # seconds between two looks while a consumer waits


class Change(Model):
    """One change: it names whom it is about, and no personal data; ask for the customer to learn what is so now."""

    position: int = Field(examples=[4711])
    type: str = Field(examples=["balance.changed"])
    customer_id: str | None = Field(examples=[ID])
    at: datetime
    details: dict[str, Any] = Field(description="Of a merge or split: the other customers")


class Changes(Model):
    """Changes in order. At least once: a consumer that crashed asks again with the last `next` it kept."""

    changes: list[Change]
    next: str = Field(description="Send it as `cursor` for what comes after")
    more: bool = Field(description="Whether there is more already: do not wait")


@router.get("/changes", responses=responses(401, 403, 422, 503))
async def get_changes(
    app: App,
    caller: ChangesReader,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the last answer; everything where left out; `now` for what comes from now on")] = None,
    types: Annotated[list[Type] | None, Query(description="Only these; repeat it for several")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    wait: Annotated[int, Query(ge=0, le=30, description="Seconds to wait for a change where there is none yet")] = 0,
) -> Changes:  # fmt: skip
    """Everything that changed, in one order, without holes: a change that commits later never stands before one that was read."""
    after = await run_in_threadpool(_begin, app, cursor)
    until = time.monotonic() + wait
    while True:
        found = await run_in_threadpool(_page, app, after, [str(t) for t in types or []], limit)
        after = found.position  # what is not asked for is not looked at again
        if found.changes or time.monotonic() >= until:
            shown = [Change.model_validate(change) for change in found.changes]
            return Changes(changes=shown, next=feed.write_cursor(found.position, app.pepper), more=found.more)
        await anyio.sleep(LOOK_EVERY)


def _begin(app: Context, cursor: str | None) -> int:
    if cursor == "now":
        with app.store() as store:
            return feed.newest(store)
    return feed.read_cursor(cursor, app.pepper) if cursor else 0


def _page(app: Context, after: int, types: list[str], limit: int) -> feed.Page:
    with app.store() as store:
        return feed.page(store, after, types, limit)
