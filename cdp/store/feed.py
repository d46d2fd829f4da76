"""The change feed as a consumer reads it: in the order of positions, from a cursor on."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import psycopg

from cdp.errors import Invalid
from cdp.store import changes


class ForeignCursor(Invalid):
    """A cursor that this deployment did not make."""


@dataclass(frozen=True)
class Page:
    """Changes in order, and the position up to which everything was looked at."""

    changes: list[dict[str, Any]]
    position: int
    more: bool


def page(store: psycopg.Connection, after: int, types: list[str], limit: int) -> Page:
    """The next changes after a position; those that are committed get theirs first.

    A position is given after commit, to all that is committed by then, so that no change comes to stand before one that
    was read. Types that are not asked for are passed over, and the cursor with them.
    """
    changes.sequence(store)
    with store.transaction():
        store.execute("set transaction isolation level repeatable read, read only")
        last = int(store.execute("select coalesce(max(position), 0) from changes").fetchall()[0][0])
        rows = store.execute(
            "select position, type, customer_id::text, at, details from changes where position > %s and position <= %s "
            "and (%s::text[] is null or type = any(%s::text[])) order by position limit %s",
            [after, last, types or None, types or None, limit + 1],
        ).fetchall()
    names = ("position", "type", "customer_id", "at", "details")
    shown = [dict(zip(names, row, strict=True)) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(shown, int(shown[-1]["position"]) if more else max(after, last), more)


def newest(store: psycopg.Connection) -> int:
    """The position of the newest change."""
    changes.sequence(store)
    return int(store.execute("select coalesce(max(position), 0) from changes").fetchall()[0][0])


def write_cursor(position: int, secret: str) -> str:
    """A position as consumers keep it; it names the deployment."""
    said = json.dumps([deployment(secret), position]).encode()
    return base64.urlsafe_b64encode(said).decode().rstrip("=")


def read_cursor(text: str, secret: str) -> int:
    """The position in a cursor.

    Raises:
        ForeignCursor: If another deployment made it, or nobody.
    """
    try:
        made_by, position = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 2**62:
            raise ValueError("no position")
    except (ValueError, TypeError, binascii.Error, UnicodeError) as error:
        raise ForeignCursor(
            "this is no cursor of a change feed", "send 'next' of the last answer, or none to begin"
        ) from error
    if made_by != deployment(secret):
        raise ForeignCursor("this cursor was made by another deployment", "begin anew, without a cursor")
    return position


def deployment(secret: str) -> str:
    """A name of this deployment that tells nothing of its secret."""
    return hashlib.sha256(f"feed|{secret}".encode()).hexdigest()[:12]
