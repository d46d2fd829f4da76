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
from cdp.errors import NotFound
from cdp.store import changes

SPACE = uuid.UUID("6f1d7c52-5a0e-4c8b-9d4c-0c5e5d1f8a11")
DECISIONS = """
    select decision_id, record_id, subject_type, subject, purpose, status, captured_at, received_at, source, method, basis,
        expires_at, confirmed_at, separate_consent, is_explicit as explicit
    from consent_decisions
"""
HELD = """
    select a.record_id, a.customer_id::text as customer_id, r.link_weight, r.fields ->> 'country' as country, i.type, i.value
    from {} a join contact_records r using (record_id)
    left join identifiers i on i.record_id = a.record_id and i.type in ('email', 'phone')
"""
NOW = HELD.format("assignment") + "where a.customer_id = any(%s::uuid[])"
THEN = HELD.format("(select unnest(%s::text[]) as record_id, %s::uuid as customer_id)")
POINTS = ("email", "phone")


@dataclass(frozen=True)
class Evidence:
    """What goes with a recorded decision, and does not decide."""

    actor: str
    notice_version: str | None = None
    jurisdiction: str | None = None
    evidence: dict[str, Any] | None = None


def material(connection: psycopg.Connection, customer_id: str, known_at: datetime | None = None) -> Material:
    """What is known of a customer's consent: decisions on its records and contact points, links, points.

    Args:
        connection: To the store.
        customer_id: A living customer.
        known_at: Answer from what the store knew then: the records the customer had, the decisions recorded by then.
    """
    if known_at is None:
        return materials(connection, [customer_id])[customer_id]
    held = _all(connection, THEN, [members_at(connection, customer_id, known_at), customer_id])
    return _materials(connection, held, [customer_id], known_at)[customer_id]


def materials(connection: psycopg.Connection, customer_ids: list[str]) -> dict[str, Material]:
    """The same for several customers in two queries."""
    return _materials(connection, _all(connection, NOW, [customer_ids]), customer_ids, None)


def _materials(
    connection: psycopg.Connection, held: list[dict[str, Any]], customer_ids: list[str], known_at: datetime | None
) -> dict[str, Material]:
    named = {kind: sorted({row["value"] for row in held if row["type"] == kind}) for kind in POINTS}
    rows = _all(
        connection,
        DECISIONS + "where (record_id = any(%(records)s) or (subject_type = 'email' and subject = any(%(email)s)) "
        "or (subject_type = 'phone' and subject = any(%(phone)s))) and (%(known)s::timestamptz is null or recorded_at <= %(known)s)",
        {"records": sorted({row["record_id"] for row in held}), "known": known_at, **named},
    )
    return gathered(held, [Decision(**row) for row in rows], customer_ids)


def gathered(
    held: Iterable[dict[str, Any]], decisions: Iterable[Decision], customer_ids: list[str]
) -> dict[str, Material]:
    """What is known of the consent of customers, from their rows.

    Args:
        held: `record_id`, `customer_id`, `link_weight`, `country`, `type`, `value`: a row a contact point, at least one a record.
        decisions: On the records and the contact points.
        customer_ids: Whose.
    """
    owner: dict[str, str] = {}
    links: dict[str, tuple[float, str | None, set[str]]] = {}
    holders: dict[str, set[str]] = {}
    points: dict[str, dict[str, set[str]]] = {customer: {kind: set() for kind in POINTS} for customer in customer_ids}
    for row in held:
        owner[row["record_id"]] = row["customer_id"]
        _, _, own = links.setdefault(row["record_id"], (float(row["link_weight"]), row["country"], set()))
        if row["value"]:
            own.add(row["value"])
            points[row["customer_id"]][row["type"]].add(row["value"])
            holders.setdefault(row["value"], set()).add(row["customer_id"])
    heard: dict[str, list[Decision]] = {customer: [] for customer in customer_ids}
    for decision in decisions:
        by_point = holders.get(decision.subject, set()) if decision.subject_type != "record" else set()
        for customer in by_point | ({owner[decision.record_id]} if decision.record_id in owner else set()):
            heard[customer].append(decision)
    of: dict[str, list[Link]] = {customer: [] for customer in customer_ids}
    for record_, (weight, country, own) in links.items():
        of[owner[record_]].append(Link(record_, weight, frozenset(own), country))
    return {
        c: Material(heard[c], of[c], {kind: sorted(values) for kind, values in points[c].items()}) for c in customer_ids
    }


def members_at(connection: psycopg.Connection, customer_id: str, at: datetime) -> list[str]:
    """The records that a customer had at that time, by the history of the assignment."""
    query = (
        "select record_id from (select distinct on (record_id) record_id, customer_id from assignment_history "
        "where at <= %s and record_id in (select record_id from assignment_history where customer_id = %s) "
        "order by record_id, position desc) as t where customer_id = %s order by 1"
    )
    return [str(row[0]) for row in connection.execute(query, [at, customer_id, customer_id])]


def hold(connection: psycopg.Connection, customer_id: str) -> None:
    """Keep a customer from being erased until the transaction ends.

    Raises:
        NotFound: If that has happened.
    """
    query = "select 1 from customers where customer_id = %s and erased_at is null for share"
    if connection.execute(query, [customer_id]).fetchone() is None:
        raise NotFound("no customer has this id")


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


def tell(
    connection: psycopg.Connection, customers: Iterable[str], points: Iterable[tuple[str, str]], now: datetime
) -> None:
    """Tell the feed of decisions: of these customers, and of everybody else who holds a decided (type, point)."""
    decided = [(kind, point) for kind, point in set(points) if kind in POINTS]
    holders = connection.execute(
        "select distinct a.customer_id::text from unnest(%s::text[], %s::text[]) as x (type, value) "
        "join identifiers i using (type, value) join assignment a using (record_id)",
        [[kind for kind, _ in decided], [point for _, point in decided]],
    ).fetchall()
    told = sorted({*customers, *(row[0] for row in holders)})
    changes.add(connection, [("consent.changed", customer, {}) for customer in told], now)


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


def unsubscribe_link(connection: psycopg.Connection, token: str, purpose: str, kind: str, subject: str) -> None:
    """Remember what a one-click link unsubscribes from; the same one again is the same link."""
    connection.execute(
        "insert into unsubscribe_links (token, purpose, subject_type, subject) values (%s, %s, %s, %s) on conflict do nothing",
        [token, purpose, kind, subject],
    )


def unsubscribing(connection: psycopg.Connection, token: str) -> tuple[str, str, str, list[str]] | None:
    """(purpose, point type, point, customers that hold it now) of a link."""
    row = connection.execute(
        "select purpose, subject_type, subject from unsubscribe_links where token = %s", [token]
    ).fetchone()
    if row is None:
        return None
    holders = connection.execute(
        "select distinct a.customer_id::text from identifiers i join assignment a using (record_id) "
        "where i.type = %s and i.value = %s order by 1",
        [row[1], row[2]],
    ).fetchall()
    return row[0], row[1], row[2], [holder[0] for holder in holders]
