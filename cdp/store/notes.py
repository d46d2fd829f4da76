"""What agents wrote about a person, and flags that others must see."""

import uuid
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

FLAGS = ("deceased", "fraud", "legal_hold", "vulnerable")


def add(store: psycopg.Connection, record_id: str, flag: str | None, text: str, author: str, now: datetime) -> str:
    """Write a note about a record's person; its id."""
    made = str(uuid.uuid4())
    store.execute(
        "insert into notes (note_id, record_id, flag, text, author, at) values (%s, %s, %s, %s, %s, %s)",
        [made, record_id, flag, text, author, now],
    )
    return made


def of_customer(store: psycopg.Connection, customer_id: str) -> list[dict[str, Any]]:
    """What stands about a customer, flags first, then the newest."""
    with store.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select note_id::text, flag, text, author, at from notes n join assignment a using (record_id) "
            "where a.customer_id = %s and removed_at is null order by flag is null, at desc, note_id",
            [customer_id],
        ).fetchall()


def remove(store: psycopg.Connection, note_id: str, customer_id: str, who: str, now: datetime) -> bool:
    """Take a note of a customer away; it is kept, with who took it away. Whether there was one."""
    done = store.execute(
        "update notes n set removed_at = %s, removed_by = %s from assignment a where n.note_id = %s and a.record_id = n.record_id "
        "and a.customer_id = %s and n.removed_at is null",
        [now, who, note_id, customer_id],
    )
    return done.rowcount == 1
