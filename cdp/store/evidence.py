"""What the store knows of why records belong together."""

from dataclasses import dataclass
from typing import Any

import psycopg

from cdp.store.decisions import STANDING

DECISION, CERTAIN = "decision", 99.0  # the type of a steward's word, and its weight, as `core__edges` has them


@dataclass(frozen=True)
class Material:
    """The evidence around a set of records.

    Attributes:
        records: Record ids, sorted.
        edges: (left, right, type, kind, weight, evidence) between them; of decisions those that stand now.
        payloads: First record of a payload → (compared values, blocking keys).
        decisions: (left, right, verdict) of standing decisions between them.
        uncompared: Pairs of payloads that are taken never to have been compared: what would be without them.
    """

    records: list[str]
    edges: list[tuple[str, str, str, str, float, dict[str, Any]]]
    payloads: dict[str, tuple[dict[str, Any], list[int]]]
    decisions: list[tuple[str, str, str]]
    uncompared: frozenset[frozenset[str]] = frozenset()


def of_customers(store: psycopg.Connection, customers: list[str]) -> Material:
    """Everything between the records of these customers."""
    query = "select record_id from assignment where customer_id = any(%s::uuid[]) order by record_id"
    return of_records(store, [str(row[0]) for row in store.execute(query, [customers])])


def of_records(store: psycopg.Connection, records: list[str]) -> Material:
    """Everything between these records."""
    edges = store.execute(
        "select left_id, right_id, type, kind, weight, evidence from edges "
        "where left_id = any(%(r)s) and right_id = any(%(r)s) order by left_id, right_id, type",
        {"r": records},
    ).fetchall()
    payloads = store.execute(
        "select record_id, compared, keys from payloads where record_id = any(%s) order by record_id", [records]
    )
    decided = store.execute(
        f"select left_id, right_id, verdict from ({STANDING}) as s where left_id = any(%(r)s) and right_id = any(%(r)s)",  # noqa: S608
        {"r": records},
    ).fetchall()
    return Material(
        sorted(records),
        [(str(a), str(b), str(t), str(k), float(w), e) for a, b, t, k, w, e in edges if t != DECISION]
        + [(str(a), str(b), DECISION, "steward", CERTAIN, {}) for a, b, verdict in decided if verdict == "same"],
        {str(r): (c, list(k)) for r, c, k in payloads},
        [(str(a), str(b), str(v)) for a, b, v in decided],
    )
