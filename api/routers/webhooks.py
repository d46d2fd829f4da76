"""Webhooks: changes brought to a channel instead of fetched by it."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.context import Administrator, App, Caller, Context
from api.problems import responses
from api.routers.changes import Change
from api.schemas import ID, Model, Whole
from cdp.store import webhooks
from cdp.store.changes import Type
from cdp.webhooks import manage

router = APIRouter(prefix="/v1/webhooks", tags=["changes"])
READS, WRITES = responses(401, 403, 404, 422, 503), responses(401, 403, 404, 409, 422, 503)


class NewWebhook(Model):
    """A receiver."""

    name: str = Field(min_length=1, max_length=100, pattern=manage.NAME, examples=["shop"])
    url: str = Field(min_length=1, max_length=2000, examples=["https://shop.example.org/hooks/cdp"])
    types: list[Type] = Field(default=[], max_length=50, description="Only these changes; all where empty")


class Webhook(Model):
    """A receiver and how it stands."""

    webhook_id: str = Field(examples=[ID])
    name: str = Field(examples=["shop"])
    url: str
    types: list[str] | None = Field(description="Only these changes; all where null")
    state: Literal["up to date", "under way", "failing", "ended"]
    behind: int = Field(description="Changes of the feed that it has before it, of every type")
    attempts: int = Field(description="How often the change before it was tried in vain")
    next_at: datetime
    failing_since: datetime | None
    last_error: str | None = Field(examples=["answered 503"])
    delivered_at: datetime | None
    created_at: datetime


class WithSecret(Webhook):
    """A receiver with its secret, which is shown this once."""

    secret: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"])


class DeadLetter(Change):
    """A change that was given up."""

    error: str = Field(examples=["answered 500"])
    died_at: datetime
    replay_at: datetime | None = Field(description="It is sent once more, asked for at this moment")


class DeadLetters(Model):
    """What was given up, in the order of the feed."""

    dead_letters: list[DeadLetter]
    next: int | None = Field(description="Send it as `after` for the following ones")


class Rotation(Model):
    """How long the secret before holds."""

    overlap_hours: Whole = Field(default=24, ge=0, le=24 * 30)


class Replay(Model):
    """Which dead letters to send once more."""

    positions: list[Annotated[int, Field(ge=0, lt=2**63)]] | None = Field(
        default=None, max_length=1000, description="All of them where left out"
    )


class Replayed(Model):
    """How many are sent once more."""

    replayed: int


class Skipped(Model):
    """What was given up."""

    position: int = Field(examples=[4711])


@router.post("", status_code=201, responses=WRITES)
def add_webhook(asked: NewWebhook, app: App, caller: Administrator) -> WithSecret:
    """Call this address on every change from now on. Its secret is in the answer, and never shown again."""
    manage.judge(app.workspace, asked.name, asked.url, asked.types)
    with app.store() as store, store.transaction():
        made, secret = manage.add(store, app.workspace, asked.name, asked.url, asked.types, app.clock())
        _told(app, caller, store, "webhook.added", made)
        return WithSecret(secret=secret, **_shown(made, 0))


@router.get("", responses=responses(401, 403, 422, 503))
def list_webhooks(app: App, caller: Administrator) -> list[Webhook]:
    """All receivers, and how each stands."""
    with app.store() as store:
        behind = webhooks.behind(store)
        return [Webhook(**_shown(hook, behind.get(hook.webhook_id, 0))) for hook in webhooks.listed(store)]


@router.delete("/{webhook_id}", status_code=204, response_class=Response, responses=READS)
def remove_webhook(webhook_id: UUID, app: App, caller: Administrator) -> None:
    """Call it no more; its dead letters go with it."""
    with app.store() as store, store.transaction():
        hook = webhooks.get(store, str(webhook_id))
        _told(app, caller, store, "webhook.removed", hook)
        webhooks.remove(store, hook.webhook_id)


@router.post("/{webhook_id}/rotate", responses=READS)
def rotate_secret(webhook_id: UUID, asked: Rotation, app: App, caller: Administrator) -> WithSecret:
    """Another secret. Messages carry a signature of both until the overlap ends."""
    with app.store() as store, store.transaction():
        hook = webhooks.get(store, str(webhook_id))
        made, secret = manage.rotate(store, app.workspace, hook, timedelta(hours=asked.overlap_hours), app.clock())
        _told(app, caller, store, "webhook.rotated", made)
        return WithSecret(secret=secret, **_shown(made, webhooks.behind(store).get(made.webhook_id, 0)))


@router.post("/{webhook_id}/resume", responses=READS)
def resume_webhook(webhook_id: UUID, app: App, caller: Administrator) -> Webhook:
    """Try now, whatever it waits for, also if it ended with 410. It goes on where it stopped."""
    with app.store() as store, store.transaction():
        hook = webhooks.get(store, str(webhook_id))
        webhooks.resume(store, hook.webhook_id, app.clock())
        _told(app, caller, store, "webhook.resumed", hook)
        return Webhook(**_shown(webhooks.get(store, hook.webhook_id), webhooks.behind(store).get(hook.webhook_id, 0)))


@router.post("/{webhook_id}/skip", responses=WRITES)
def skip(webhook_id: UUID, app: App, caller: Administrator) -> Skipped:
    """Give up the change that holds it up, as if the tenth attempt had failed: it is a dead letter, the next one follows."""
    with app.store() as store, store.transaction():
        hook = webhooks.get(store, str(webhook_id))
        position = webhooks.skip(store, hook.webhook_id, app.clock())
        _told(app, caller, store, "webhook.skipped", hook)
        return Skipped(position=position)


@router.get("/{webhook_id}/dead-letters", responses=READS)
def dead_letters(
    webhook_id: UUID,
    app: App,
    caller: Administrator,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DeadLetters:
    """What was tried as often as the schedule says and never taken."""
    with app.store() as store:
        hook = webhooks.get(store, str(webhook_id))
        found = webhooks.dead_letters(store, hook.webhook_id, after=after, limit=limit + 1)
    more = found[limit - 1]["position"] if len(found) > limit else None
    return DeadLetters(dead_letters=[DeadLetter.model_validate(one) for one in found[:limit]], next=more)


@router.post("/{webhook_id}/replay", responses=READS)
def replay(webhook_id: UUID, asked: Replay, app: App, caller: Administrator) -> Replayed:
    """Send dead letters once more, each once, under the ids they had; what is not taken stays."""
    with app.store() as store, store.transaction():
        hook = webhooks.get(store, str(webhook_id))
        found = webhooks.replay(store, hook.webhook_id, asked.positions, app.clock())
        _told(app, caller, store, "webhook.replayed", hook)
        return Replayed(replayed=found)


def _told(app: Context, caller: Caller, store: Any, action: str, hook: webhooks.Webhook) -> None:
    app.trail.write(store, caller.event(action, details={"webhook": hook.name}))


def _shown(hook: webhooks.Webhook, behind: int) -> dict[str, Any]:
    said = {name: getattr(hook, name) for name in Webhook.model_fields if hasattr(hook, name)}
    return {**said, "state": manage.state(hook, behind), "behind": behind}
