"""Consent decisions in the store: recorded, read, and read as they were known at another time."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cdp.consent.resolve import Decision, Link, Material

SPACE = uuid.UUID("6f1d7c52-5a0e-4c8b-9d4c-0c5e5d1f8a11")
DECISIONS = """
    select decision_id, record_id, subject_type, subject, purpose, status, captured_at, received_at, source, method, basis,
        expires_at, confirmed_at, separate_consent, is_explicit as explicit
    from consent_decisions
"""
HELD = """
    select r.record_id, r.link_weight, r.fields ->> 'country' as country, i.type, i.value from contact_records r
    left join identifiers i on i.record_id = r.record_id and i.type in ('email', 'phone')
    where r.record_id = any(coalesce(%(members)s, array(select record_id from assignment where customer_id = %(customer)s)))
"""
POINTS = ("email", "phone")


@dataclass(frozen=True)
class Evidence:
    """What goes with a recorded decision, and does not decide."""

    actor: str
    notice_version: str | None = None
    jurisdiction: str | None = None
    evidence: dict[str, Any] | None = None


def material(
    connection: psycopg.Connection, customer_id: str, known_at: datetime | None = None, members: list[str] | None = None
) -> Material:
    """What is known of a customer's consent: decisions on its records and contact points, links, points.

    Args:
        connection: To the store.
        customer_id: A living customer.
        known_at: Leave out what the store learned later.
        members: The records it had then; those it has now by default.
    """
    held = _all(connection, HELD, {"customer": customer_id, "members": members})
    facts = {row["record_id"]: (float(row["link_weight"]), row["country"]) for row in held}
    own: dict[str, set[str]] = {record: set() for record in facts}
    points: dict[str, set[str]] = {kind: set() for kind in POINTS}
    for row in held:
        if row["value"]:
            own[row["record_id"]].add(row["value"])
            points[row["type"]].add(row["value"])
    decisions = _all(
        connection,
        DECISIONS + "where (record_id = any(%(r)s) or (subject_type = 'email' and subject = any(%(e)s)) "
        "or (subject_type = 'phone' and subject = any(%(p)s))) and (%(k)s::timestamptz is null or recorded_at <= %(k)s)",
        {"r": list(facts), "e": sorted(points["email"]), "p": sorted(points["phone"]), "k": known_at},
    )
    return Material(
        [Decision(**row) for row in decisions],
        [Link(record, weight, frozenset(own[record]), country) for record, (weight, country) in facts.items()],
        {kind: sorted(values) for kind, values in points.items()},
    )


def members_at(connection: psycopg.Connection, customer_id: str, at: datetime) -> list[str]:
    """The records that a customer had at that time, by the history of the assignment."""
    query = (
        "select record_id from (select distinct on (record_id) record_id, customer_id from assignment_history "
        "where at <= %s and record_id in (select record_id from assignment_history where customer_id = %s) "
        "order by record_id, position desc) as t where customer_id = %s order by 1"
    )
    return [str(row[0]) for row in connection.execute(query, [at, customer_id, customer_id])]


def record(
    connection: psycopg.Connection, decisions: Iterable[Decision], with_: Evidence, now: datetime
) -> list[Decision]:
    """Add decisions; the same one again adds nothing. Returns those that are new, with their ids."""
    added = []
    for decision in decisions:
        key = "|".join(
            str(part)
            for part in (
                decision.record_id, decision.subject, decision.purpose, decision.status, decision.captured_at, decision.source,
                decision.method, decision.confirmed_at, with_.actor,
            )
        )  # fmt: skip
        named = replace(decision, decision_id=decision.decision_id or str(uuid.uuid5(SPACE, key)))
        done = connection.execute(
            "insert into consent_decisions (decision_id, record_id, subject_type, subject, purpose, status, captured_at, received_at, "
            "source, method, basis, expires_at, confirmed_at, separate_consent, is_explicit, notice_version, jurisdiction, evidence, "
            "actor, recorded_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
            "on conflict do nothing",
            [
                named.decision_id, named.record_id, named.subject_type, named.subject, named.purpose, named.status, named.captured_at,
                named.received_at, named.source, named.method, named.basis, named.expires_at, named.confirmed_at,
                named.separate_consent, named.explicit, with_.notice_version, with_.jurisdiction,
                Jsonb(with_.evidence) if with_.evidence else None, with_.actor, now,
            ],
        )  # fmt: skip
        if done.rowcount:
            added.append(named)
    return added


def recorded(connection: psycopg.Connection, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Every decision that no file brought, by id."""
    shown = sql.SQL(", ").join(
        sql.SQL("evidence::text") if name == "evidence" else sql.Identifier(name) for name in columns
    )
    query = sql.SQL("select {} from consent_decisions where actor <> 'pipeline' order by decision_id").format(shown)
    return list(connection.execute(query).fetchall())


def _all(connection: psycopg.Connection, query: str, parameters: Any) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
