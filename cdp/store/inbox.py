"""The inbox: events between their acknowledgement and the next run."""

from collections.abc import Sequence
from datetime import datetime

import psycopg


def add(store: psycopg.Connection, source: str, events: Sequence[tuple[str, str]], now: datetime) -> int:
    """Keep (message id, text) events; one that is there already adds nothing. Returns how many were new."""
    done = store.execute(
        "insert into inbox (source, message_id, received_at, payload) select %s, m, %s, p from unnest(%s::text[], %s::text[]) as x (m, p) "
        "on conflict do nothing",
        [source, now, [name for name, _ in events], [text for _, text in events]],
    )
    return done.rowcount


def number(store: psycopg.Connection, source: str, message_id: str) -> int | None:
    """The number of an event that was kept."""
    query = "select inbox_id from inbox where source = %s and message_id = %s"
    row = store.execute(query, [source, message_id]).fetchone()
    return int(row[0]) if row else None


def waiting(store: psycopg.Connection, source: str, limit: int) -> list[tuple[int, str]]:
    """(id, text) of events that no landing file holds yet, the oldest first."""
    rows = store.execute(
        "select inbox_id, payload from inbox where source = %s and payload is not null order by inbox_id limit %s",
        [source, limit],
    )
    return [(int(row[0]), str(row[1])) for row in rows]


def pending(store: psycopg.Connection) -> tuple[int, datetime | None, datetime | None]:
    """(how many events no landing file holds yet, when the oldest of them was sent, when the newest)."""
    query = "select count(*), min(received_at), max(received_at) from inbox where payload is not null"
    count, oldest, last = store.execute(query).fetchall()[0]
    return int(count), oldest, last


def handed_over(store: psycopg.Connection, ids: list[int]) -> None:
    """These events are in a landing file: only their ids stay, so that a late repeat is known."""
    store.execute("update inbox set payload = null where inbox_id = any(%s)", [ids])


def forget(store: psycopg.Connection, before: datetime) -> None:
    """Ids of what was handed over long ago."""
    store.execute("delete from inbox where payload is null and received_at < %s", [before])


def unseen(store: psycopg.Connection, limit: int) -> list[tuple[int, str, str]]:
    """(id, source, text) of events nobody has looked at, the oldest first; they are ours until the transaction ends."""
    rows = store.execute(
        "select inbox_id, source, payload from inbox where live_at is null and payload is not null order by inbox_id limit %s for update skip locked",
        [limit],
    )
    return [(int(row[0]), str(row[1]), str(row[2])) for row in rows]


def seen(store: psycopg.Connection, ids: list[int], now: datetime) -> None:
    """These events were looked at."""
    store.execute("update inbox set live_at = %s where inbox_id = any(%s)", [now, ids])
