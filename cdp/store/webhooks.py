"""Webhooks as the store keeps them: how far each is, who has it in hand, what was given up."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row

from cdp.errors import Conflict, NotFound
from cdp.store import changes

COLUMNS = (
    "webhook_id::text, name, url, types, generation, oldest, old_until, position, attempts, next_at, leased_until, failing_since, last_error, "
    "delivered_at, disabled_at, created_at"
)


@dataclass(frozen=True)
class Webhook:
    """One receiver; `0010_webhooks.sql` says what its columns mean."""

    webhook_id: str
    name: str
    url: str
    types: list[str] | None
    generation: int
    oldest: int
    old_until: datetime | None
    position: int
    attempts: int
    next_at: datetime
    leased_until: datetime
    failing_since: datetime | None
    last_error: str | None
    delivered_at: datetime | None
    disabled_at: datetime | None
    created_at: datetime

    def signs_with(self, now: datetime) -> list[int]:
        """Generations of the secrets that sign at a moment, the present one first."""
        overlap = self.old_until is not None and now < self.old_until
        return list(range(self.generation, self.oldest - 1, -1)) if overlap else [self.generation]


def add(
    store: psycopg.Connection,
    webhook_id: str,
    name: str,
    url: str,
    types: list[str] | None,
    position: int,
    now: datetime,
) -> Webhook:
    """A new one, which begins after a position of the change feed.

    Raises:
        Conflict: If the name is taken.
    """  # fmt: skip
    try:
        with store.transaction():
            store.execute(
                "insert into webhooks (webhook_id, name, url, types, position, next_at, leased_until, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
                [webhook_id, name, url, types, position, now, now, now],
            )
    except psycopg.errors.UniqueViolation as error:
        raise Conflict("there is a webhook of this name", "choose another name, or remove that one") from error
    return get(store, webhook_id)


def get(store: psycopg.Connection, webhook_id: str) -> Webhook:
    """One by its id.

    Raises:
        NotFound: If there is none.
    """
    found = _webhooks(store, f"select {COLUMNS} from webhooks where webhook_id = %s", [webhook_id])
    if not found:
        raise NotFound("no webhook has this id")
    return found[0]


def by_name(store: psycopg.Connection, name: str) -> Webhook:
    """One by its name.

    Raises:
        NotFound: If there is none.
    """
    found = _webhooks(store, f"select {COLUMNS} from webhooks where name = %s", [name])
    if not found:
        raise NotFound(f"no webhook is named '{name}'", "see 'cdp webhooks list'")
    return found[0]


def listed(store: psycopg.Connection) -> list[Webhook]:
    """All of them by name."""
    return _webhooks(store, f"select {COLUMNS} from webhooks order by name", [])


def behind(store: psycopg.Connection) -> dict[str, int]:
    """How many changes each still has before it, of every type."""
    changes.sequence(store)
    query = "select webhook_id::text, (select coalesce(max(position), 0) from changes) - position from webhooks"
    return {name: max(0, int(count)) for name, count in store.execute(query).fetchall()}


def remove(store: psycopg.Connection, webhook_id: str) -> None:
    """End it, with its dead letters."""
    store.execute("delete from webhooks where webhook_id = %s", [webhook_id])


def rotate(store: psycopg.Connection, webhook_id: str, old_until: datetime, now: datetime) -> None:
    """Give it another secret; those that sign now sign too for a while."""
    store.execute(
        "update webhooks set oldest = case when old_until > %s then oldest else generation end, generation = generation + 1, old_until = %s "
        "where webhook_id = %s",
        [now, old_until, webhook_id],
    )


def resume(store: psycopg.Connection, webhook_id: str, now: datetime) -> None:
    """Try now, whatever it waited for, also if it was ended; nothing was lost meanwhile."""
    store.execute(
        "update webhooks set disabled_at = null, attempts = 0, next_at = %s where webhook_id = %s", [now, webhook_id]
    )


def lease(store: psycopg.Connection, now: datetime, until: datetime, most: int) -> list[Webhook]:
    """Take those that have something to send and are in nobody's hand; a sender that dies loses them when the lease ends."""
    query = f"""
        update webhooks set leased_until = %(until)s where webhook_id in (
            select webhook_id from webhooks w where disabled_at is null and leased_until <= %(now)s
                and (next_at <= %(now)s and position < (select max(position) from changes)
                    or exists (select from webhook_dead_letters d where d.webhook_id = w.webhook_id and replay_at is not null))
            order by leased_until limit %(most)s for update skip locked)
        returning {COLUMNS}
    """
    return _webhooks(store, query, {"now": now, "until": until, "most": most})


def keep(store: psycopg.Connection, hook: Webhook, **changed: Any) -> bool:
    """Write how it went; False if the lease was lost meanwhile, and nothing was written."""
    names = ", ".join(f"{name} = %({name})s" for name in changed)
    done = store.execute(
        f"update webhooks set {names} where webhook_id = %(hook)s and leased_until = %(lease)s",
        {**changed, "hook": hook.webhook_id, "lease": hook.leased_until},
    )
    return done.rowcount == 1


def skip(store: psycopg.Connection, webhook_id: str, now: datetime) -> int:
    """Give up what it is held up by; returns its position.

    Raises:
        Conflict: If nothing holds it up, or it is being called right now.
    """
    with store.transaction():
        found = _webhooks(store, f"select {COLUMNS} from webhooks where webhook_id = %s for update", [webhook_id])
        if not found or not found[0].attempts:
            raise Conflict("nothing holds this webhook up")
        hook = found[0]
        if hook.leased_until > now:
            raise Conflict("it is being called right now", "try again in a moment")
        position = int(
            store.execute(
                "select min(position) from changes where position > %s and (%s::text[] is null or type = any(%s))",
                [hook.position, hook.types, hook.types],
            ).fetchall()[0][0]
        )
        bury(store, hook, position, hook.last_error or "", now)
        keep(store, hook, position=position, attempts=0, next_at=now)
    return position


def bury(store: psycopg.Connection, hook: Webhook, position: int, error: str, now: datetime) -> None:
    """Note a change that was given up."""
    store.execute(
        "insert into webhook_dead_letters (webhook_id, position, error, died_at) values (%s, %s, %s, %s) on conflict do nothing",
        [hook.webhook_id, position, error, now],
    )


def dead_letters(
    store: psycopg.Connection, webhook_id: str, *, due: bool = False, after: int = 0, limit: int = 100
) -> list[dict[str, Any]]:
    """What was given up, in the order of the feed; `due`: only what somebody asked to send once more."""  # fmt: skip
    query = (
        "select d.position, c.type, c.customer_id::text, c.at, c.details, d.error, d.died_at, d.replay_at from webhook_dead_letters d "
        "join changes c using (position) where webhook_id = %s and (not %s or replay_at is not null) and d.position > %s "
        "order by d.position limit %s"
    )
    with store.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, [webhook_id, due, after, limit]).fetchall()


def replay(store: psycopg.Connection, webhook_id: str, positions: list[int] | None, now: datetime) -> int:
    """Ask to send dead letters once more, these or all; returns how many."""
    query = "update webhook_dead_letters set replay_at = %s where webhook_id = %s and (%s::bigint[] is null or position = any(%s))"
    return store.execute(query, [now, webhook_id, positions, positions]).rowcount


def settle(store: psycopg.Connection, hook: Webhook, position: int, error: str | None) -> bool:
    """What a replay came to: taken, and gone; or refused once more, and kept. False if the lease was lost meanwhile."""
    if not keep(store, hook, leased_until=hook.leased_until):
        return False
    if error is None:
        query, values = "delete from webhook_dead_letters where webhook_id = %s and position = %s", []
    else:
        query = "update webhook_dead_letters set replay_at = null, error = %s where webhook_id = %s and position = %s"
        values = [error]
    store.execute(query, [*values, hook.webhook_id, position])
    return True


def _webhooks(store: psycopg.Connection, query: str, parameters: Any) -> list[Webhook]:
    with store.cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(query, parameters).fetchall()
