"""What the feed said last of audiences and tiers, and how far the follower is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from cdp.store.customers import FIRST_ID

LEADER = 7_201_020


@dataclass(frozen=True)
class State:
    """How far the follower is; `0011_derived.sql` says what its columns mean."""

    position: int
    rules: str
    sweep_after: str | None
    sweeping: bool
    swept_at: datetime | None


def lead(store: psycopg.Connection) -> bool:
    """Whether this connection leads from now on, as long as it lives: two that know other rules would tell for ever."""
    return bool(store.execute("select pg_try_advisory_lock(%s)", [LEADER]).fetchall()[0][0])


def state(store: psycopg.Connection, *, locked: bool = False) -> State:
    """How far the follower is; locked until the transaction ends, where it is to be changed."""
    query = "select position, rules, sweep_after::text, sweeping, swept_at from derived_state"
    with store.cursor(row_factory=class_row(State)) as cursor:
        return cursor.execute(query + (" for update" if locked else "")).fetchall()[0]


def keep(store: psycopg.Connection, **changed: Any) -> None:
    """Write how far it is."""
    store.execute(f"update derived_state set {', '.join(f'{name} = %({name})s' for name in changed)}", changed)


def everybody(store: psycopg.Connection, after: str | None, limit: int) -> list[str]:
    """Ids of all who have a profile or were told of, in order, those after the one given."""
    part = "(select distinct customer_id from {} where customer_id > %(after)s::uuid order by 1 limit %(limit)s)"
    parts = " union ".join(part.format(table) for table in ("profiles", "audience_members", "customer_tiers"))
    query = f"select customer_id::text from ({parts}) as t order by t.customer_id limit %(limit)s"
    return [row[0] for row in store.execute(query, {"after": after or FIRST_ID, "limit": limit}).fetchall()]


def hold(store: psycopg.Connection, customers: list[str]) -> set[str]:
    """Those of these customers that are not erased; none of them is until the transaction ends."""
    query = (
        "select customer_id::text from customers where customer_id = any(%s::uuid[]) and erased_at is null "
        "order by customer_id for key share"
    )
    return {row[0] for row in store.execute(query, [customers]).fetchall()}


def tiers(store: psycopg.Connection, customers: list[str]) -> dict[str, str]:
    """Customer → tier as it was told last."""
    query = "select customer_id::text, tier from customer_tiers where customer_id = any(%s::uuid[])"
    return dict(store.execute(query, [customers]).fetchall())


def set_tiers(store: psycopg.Connection, held: dict[str, str | None], at: datetime) -> None:
    """Note tiers; None where somebody has none any more."""
    store.execute(
        "delete from customer_tiers where customer_id = any(%s::uuid[])", [[c for c, t in held.items() if t is None]]
    )
    store.execute(
        "insert into customer_tiers select c, t, %s from unnest(%s::uuid[], %s::text[]) as x (c, t) "
        "on conflict (customer_id) do update set tier = excluded.tier, since = excluded.since",
        [at, [c for c, t in held.items() if t is not None], [t for t in held.values() if t is not None]],
    )


def memberships(store: psycopg.Connection, customers: list[str] | None) -> set[tuple[str, str]]:
    """(audience, customer) as they were told last, of these customers or of all."""
    query = "select audience, customer_id::text from audience_members where %(c)s::uuid[] is null or customer_id = any(%(c)s::uuid[])"
    return {(row[0], row[1]) for row in store.execute(query, {"c": customers}).fetchall()}


def enter(store: psycopg.Connection, pairs: list[tuple[str, str]], at: datetime) -> None:
    """Note who is in an audience from now on."""
    store.execute(
        "insert into audience_members select a, c, %s from unnest(%s::text[], %s::uuid[]) as x (a, c) on conflict do nothing",
        [at, [a for a, _ in pairs], [c for _, c in pairs]],
    )


def leave(store: psycopg.Connection, pairs: list[tuple[str, str]]) -> None:
    """Note who is not any more."""
    store.execute(
        "delete from audience_members m using unnest(%s::text[], %s::uuid[]) as x (a, c) where m.audience = a and m.customer_id = c",
        [[a for a, _ in pairs], [c for _, c in pairs]],
    )


def sizes(store: psycopg.Connection) -> dict[str, int]:
    """Audience → members as they were told last."""
    return dict(store.execute("select audience, count(*) from audience_members group by 1 order by 1").fetchall())


def unknown(store: psycopg.Connection, audiences: list[str], limit: int) -> list[tuple[str, str]]:
    """Some memberships of audiences that are none of these."""
    query = (
        "select audience, customer_id::text from audience_members where not audience = any(%s) order by 1, 2 limit %s"
    )
    return [(row[0], row[1]) for row in store.execute(query, [audiences, limit]).fetchall()]
