"""What people decided about pairs of records: kept, obeyed by every later run, reversible as a whole change set."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class Decision:
    """A verdict on one pair of records (`same`, `different`, `unsure`)."""

    left_id: str
    right_id: str
    verdict: str
    weight: float | None = None


def ordered(one: str, other: str, verdict: str, weight: float | None = None) -> Decision:
    """A decision with its records in order."""
    left, right = sorted((one, other))
    return Decision(left, right, verdict, weight)


STANDING = """
    select distinct on (left_id, right_id) left_id, right_id, verdict, weight, actor, reason, changeset_id::text
    from link_decisions where revoked_by is null order by left_id, right_id, at desc, decision_id desc
"""


def standing(connection: psycopg.Connection) -> list[tuple[str, str, str, float | None, str]]:
    """(left, right, verdict, weight, change set) of the latest decision on every pair that was not revoked."""
    query = f"select left_id, right_id, verdict, weight, changeset_id from ({STANDING}) as s order by 1, 2"  # noqa: S608
    return [(str(a), str(b), str(v), w, str(c)) for a, b, v, w, c in connection.execute(query)]


def confirmed(connection: psycopg.Connection, records: list[str]) -> dict[tuple[str, str], str]:
    """Who judged that two of these records are one person: pair (in order) → the name of the latest standing word."""
    query = (
        f"select left_id, right_id, s.actor from ({STANDING}) as s join changesets c on c.changeset_id = s.changeset_id::uuid "  # noqa: S608
        "where verdict = 'same' and c.kind <> 'split' and left_id = any(%(r)s) and right_id = any(%(r)s)"
    )
    return {(str(a), str(b)): str(actor) for a, b, actor in connection.execute(query, {"r": records})}


def add_changeset(
    connection: psycopg.Connection,
    changeset_id: UUID,
    kind: str,
    now: datetime,
    actor: str,
    reason: str,
    moves: list[dict[str, Any]],
    undoes: UUID | None = None,
) -> None:
    """Note what one act of a person moved."""
    connection.execute(
        "insert into changesets (changeset_id, kind, at, actor, reason, moves, undoes) values (%s, %s, %s, %s, %s, %s, %s)",
        [changeset_id, kind, now, actor, reason, Jsonb(moves), undoes],
    )


def add(
    connection: psycopg.Connection,
    changeset_id: UUID,
    decisions: list[Decision],
    now: datetime,
    actor: str,
    reason: str,
) -> None:
    """Write decisions of a change set."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into link_decisions (decision_id, changeset_id, left_id, right_id, verdict, weight, at, actor, reason) "
            "values (gen_random_uuid(), %s, %s, %s, %s, %s, %s, %s, %s)",
            [(changeset_id, d.left_id, d.right_id, d.verdict, d.weight, now, actor, reason) for d in decisions],
        )


def changeset(connection: psycopg.Connection, changeset_id: UUID) -> dict[str, Any] | None:
    """A change set, locked until the transaction ends."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from changesets where changeset_id = %s for update", [changeset_id]).fetchone()


def revoke(connection: psycopg.Connection, changeset_id: UUID, undo_id: UUID) -> int:
    """Revoke the decisions of a change set and mark it undone; returns how many decisions."""
    connection.execute("update changesets set undone_by = %s where changeset_id = %s", [undo_id, changeset_id])
    done = connection.execute(
        "update link_decisions set revoked_by = %s where changeset_id = %s and revoked_by is null",
        [undo_id, changeset_id],
    )
    return done.rowcount


def replace(
    connection: psycopg.Connection, changeset_id: UUID, undo_id: UUID, old: tuple[str, str], new: Decision, at: datetime
) -> None:
    """Let a decision of a change set be said of another pair; it goes with the change set as the first did."""
    query = (
        "update link_decisions set revoked_by = %s where changeset_id = %s and left_id = %s and right_id = %s and revoked_by is null "
        "returning actor, reason"
    )
    for actor, reason in connection.execute(query, [undo_id, changeset_id, *old]).fetchall():
        add(connection, changeset_id, [new], at, actor, reason)


def of_customer(connection: psycopg.Connection, customer_id: str) -> list[dict[str, Any]]:
    """Acts of people about a customer's records that were not taken back, the newest first: what can be undone."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select c.changeset_id::text, c.kind, c.at, c.actor, c.reason, jsonb_array_length(c.moves) as moved from changesets c "
            "where c.undone_by is null and c.kind <> 'undo' and c.changeset_id in (select d.changeset_id from link_decisions d "
            "join assignment a on a.record_id in (d.left_id, d.right_id) where a.customer_id = %s) order by c.at desc, 1 limit 20",
            [customer_id],
        ).fetchall()
