"""What the store knows of why records belong together."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import psycopg

from cdp.store.decisions import STANDING

DECISION, CERTAIN = "decision", 99.0  # the type of a steward's word, and its weight, as `core__edges` has them
KEPT = 0.0  # weight of the word that a split leaves for who stays together: nobody judged it, all other evidence is told first
IDENTICAL = "identical"  # the type between records of one payload
Edge = tuple[str, str, str, str, float, dict[str, Any]]


@dataclass(frozen=True)
class Material:
    """The evidence around a set of records.

    Attributes:
        records: Record ids, sorted.
        edges: (left, right, type, kind, weight, evidence) between them; of decisions those that stand now. All that share
            a value hang on the first of these records that holds it.
        payloads: First of these records that has a payload → (compared values, blocking keys).
        decisions: (left, right, verdict) of standing decisions between them.
        uncompared: Pairs of payloads that are taken never to have been compared: what would be without them.
    """

    records: list[str]
    edges: list[Edge]
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
        "select left_id, right_id, type, kind, weight, evidence from edges where right_id = any(%s) and type <> %s "
        "order by left_id, right_id, type",
        [records, DECISION],
    ).fetchall()
    inside = set(records)
    hung, heirs = _hung([(str(a), str(b), str(t), str(k), float(w), e) for a, b, t, k, w, e in edges], inside)
    payloads = store.execute(
        "select record_id, compared, keys from payloads where record_id = any(%s) order by record_id",
        [sorted(inside | set(heirs))],
    )
    decided = store.execute(
        "select s.left_id, s.right_id, s.verdict, c.kind = 'split' "  # noqa: S608 - a constant
        f"from ({STANDING}) as s join changesets c on c.changeset_id = s.changeset_id::uuid "
        "where s.left_id = any(%(r)s) and s.right_id = any(%(r)s)",
        {"r": records},
    ).fetchall()
    said: list[Edge] = [
        (str(a), str(b), DECISION, "steward", KEPT if left_so else CERTAIN, {})
        for a, b, verdict, left_so in decided
        if verdict == "same"
    ]
    return Material(
        sorted(records),
        hung + said,
        dict(sorted((heirs.get(str(r), str(r)), (c, list(k))) for r, c, k in payloads)),
        [(str(a), str(b), str(v)) for a, b, v, _ in decided],
    )


def _hung(edges: list[Edge], inside: set[str]) -> tuple[list[Edge], dict[str, str]]:
    """The edges between these records, and first record of a payload → the one of these that stands for it in its absence.

    The first that holds a value has an edge to each other that holds it. Where that one is somebody else's, the rest share
    the value all the same: they hang on the first of them.
    """
    held: dict[tuple[str, str, str], list[Edge]] = defaultdict(list)
    for edge in edges:
        if edge[0] not in inside and is_star(edge):
            for value in shared(edge[5]):
                held[(edge[0], edge[2], value)].append(edge)
    found: dict[tuple[str, str, str], Edge] = {}
    for (_, kind, value), (first, *others) in held.items():
        for _, right, _, sort, weight, told in others:
            before = shared(found[first[1], right, kind][5]) if (first[1], right, kind) in found else []
            both = sorted({*before, value})
            said = {**told, "values": "|".join(both), "values_shared": len(both)} if value else told
            found[first[1], right, kind] = (first[1], right, kind, sort, weight, said)
    heirs = {left: rows[0][1] for (left, kind, _), rows in held.items() if kind == IDENTICAL}
    return [edge for edge in edges if edge[0] in inside] + sorted(found.values(), key=lambda edge: edge[:3]), heirs


def firsts(material: Material) -> dict[str, str]:
    """Record → the one of them under which its payload stands, where it has one that says enough to be somebody."""
    alike = {right: left for left, right, kind, *_ in material.edges if kind == IDENTICAL and left in material.payloads}
    return alike | {record: record for record in material.payloads}


def is_star(edge: Edge) -> bool:
    """Whether an edge is one of a star: all that share its value hang on one record, the first that holds it."""
    return edge[3] in ("exact", "rule") or edge[2] == IDENTICAL


def shared(evidence: dict[str, Any]) -> list[str]:
    """The values that an edge's two records share, one empty where it names none."""
    return str(evidence.get("values", "")).split("|")
