"""When landing files were first seen, and which of them no run has looked at yet."""

from collections.abc import Iterable
from datetime import date, datetime

import psycopg

Seen = tuple[str, str, int, int]  # source, file, bytes, modified (ns)
CHANGED = "(l.size, l.modified_ns) is distinct from (excluded.size, excluded.modified_ns)"
REGISTER = f"""
    insert into landed_files as l (source, file, size, modified_ns, landed_at)
    select s, f, z, m, %(now)s from unnest(%(s)s::text[], %(f)s::text[], %(z)s::bigint[], %(m)s::bigint[]) as x (s, f, z, m)
    on conflict (source, file) do update
    set size = excluded.size, modified_ns = excluded.modified_ns, landed_at = excluded.landed_at, read_at = null
    where {CHANGED}
    returning (landed_at at time zone 'UTC')::date
"""  # noqa: S608 - no value is part of it
SETTLE = """
    update landed_files l set size = z, modified_ns = m, read_at = %(now)s
    from unnest(%(s)s::text[], %(f)s::text[], %(z)s::bigint[], %(m)s::bigint[]) as x (s, f, z, m)
    where l.source = s and l.file = f
"""


def _columns(seen: Iterable[Seen], now: datetime) -> dict[str, object]:
    rows = list(seen)
    return {"now": now} | {name: [row[at] for row in rows] for at, name in enumerate("sfzm")}


def register(store: psycopg.Connection, seen: Iterable[Seen], now: datetime) -> set[date]:
    """Note files that are new, or other ones under a known name; returns the days (UTC) that gained any."""
    return {row[0] for row in store.execute(REGISTER, _columns(seen, now)).fetchall()}


def settle(store: psycopg.Connection, seen: Iterable[Seen], now: datetime) -> None:
    """A run has looked at these files, as they are now: ingest may have redacted them."""
    store.execute(SETTLE, _columns(seen, now))


def read_whole(files: set[str], before: Iterable[Seen], after: Iterable[Seen], redacted: set[str]) -> list[Seen]:
    """Those of the files that are now what they were before they were read, or what reading made of them.

    One that was replaced meanwhile is left out: the next run reads it.
    """
    known = set(before)
    return [state for state in after if state[1] in files and (state in known or state[1] in redacted)]


def rewritten(store: psycopg.Connection, before: Seen, after: Seen) -> None:
    """We wrote a file anew ourselves: it landed when it landed. Nothing where somebody replaced it before that."""
    store.execute(
        "update landed_files set size = %s, modified_ns = %s where (source, file, size, modified_ns) = (%s, %s, %s, %s)",
        [after[2], after[3], *before],
    )


def days(store: psycopg.Connection) -> list[date]:
    """Every day on which a file landed, the oldest first."""
    query = "select distinct (landed_at at time zone 'UTC')::date as day from landed_files order by day"
    return [row[0] for row in store.execute(query).fetchall()]


def of(store: psycopg.Connection, source: str, only: Iterable[date] | None = None) -> dict[str, datetime]:
    """The files of a source and when each landed; of some days only, where they are named."""
    query = (
        "select file, landed_at from landed_files where source = %s "
        "and (%s::date[] is null or (landed_at at time zone 'UTC')::date = any(%s))"
    )
    named = None if only is None else list(only)
    return dict(store.execute(query, [source, named, named]).fetchall())


def unread(store: psycopg.Connection) -> list[Seen]:
    """What was registered and no run has looked at, as it was registered."""
    return _states(store, "read_at is null")


def unseen(store: psycopg.Connection, seen: Iterable[Seen]) -> list[Seen]:
    """Those of these files that no run has looked at as they are now, registered or not."""
    known = set(_states(store, "read_at is not null"))
    return [state for state in seen if state not in known]


def _states(store: psycopg.Connection, which: str) -> list[Seen]:
    query = f"select source, file, size, modified_ns from landed_files where {which} order by 1, 2"  # noqa: S608 - constants
    return [(str(s), str(f), int(z), int(m)) for s, f, z, m in store.execute(query).fetchall()]
