"""One customer's evidence, clustered again by the rules of the batch: what explanations and what-ifs are made of.

Limits and accounts of one person are rules of `identity.yaml` over more than this evidence: whoever asks knows from the
assignment whether one of them keeps records apart.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cdp.store.evidence import DECISION, IDENTICAL, Edge, Material, is_star, shared
from identity import blocking
from identity.cluster import Evidence, cluster, with_cannot
from identity.guards import MOST, two_births, two_people
from identity.scorer import Scorer, complete

MOST_PAYLOADS = 400


@dataclass(frozen=True)
class Scored:
    """A pair of payloads (their first records) and its match weight; None where the guard holds them for two people."""

    left: str
    right: str
    weight: float


def scored_pairs(material: Material, scorer: Scorer) -> list[Scored]:
    """Every pair of payloads that blocking would compare, as the batch scores it."""
    payloads = list(material.payloads.items())[:MOST_PAYLOADS]
    found = []
    for at, (left, (a, a_keys)) in enumerate(payloads):
        keys, own = set(a_keys), complete(a, scorer.model)
        for right, (b, b_keys) in payloads[at + 1 :]:
            if keys.isdisjoint(b_keys) or two_people(a, b) or frozenset((left, right)) in material.uncompared:
                continue
            found.append(Scored(left, right, scorer.weight(own, complete(b, scorer.model))))
    return found


def partition(material: Material, scorer: Scorer | None) -> list[list[str]]:
    """The records in the clusters that the batch's rules make of this evidence alone, largest first."""
    number = {record: at for at, record in enumerate(material.records)}
    hard = [(edge, value) for edge in material.edges if is_star(edge) for value in shared(edge[5])]
    stars = [(number[a], number[b], f"{kind}:{a}:{value}") for (a, b, kind, *_), value in hard]
    decided = [(number[a], number[b], f"steward:{a}:{b}") for a, b, verdict in material.decisions if verdict == "same"]
    names = {name: at for at, name in enumerate(sorted({s for *_, s in (*stars, *decided)}))}
    rows = [(a, b, names[s]) for a, b, s in (*stars, *decided)]
    soft = scored_pairs(material, scorer) if scorer else []
    threshold = scorer.model.threshold if scorer else 0.0
    apart = [(number[a], number[b]) for a, b, verdict in material.decisions if verdict == "different"]
    evidence = Evidence(
        len(material.records),
        (_ints(rows, 0), _ints(rows, 1), _ints(rows, 2)),
        np.full(len(rows), 20.0),
        (_ints([(number[s.left],) for s in soft], 0), _ints([(number[s.right],) for s in soft], 0)),
        np.array([s.weight - threshold for s in soft], dtype=np.float64),
        (_ints(apart, 0), _ints(apart, 1)),
        (*(edge[2] for edge, _ in hard), *(DECISION for _ in decided)),
    )
    births = [(number[a], number[b]) for a, b in births_apart(material)]
    evidence = with_cannot(evidence, (_ints(births, 0), _ints(births, 1)))
    groups: dict[int, list[str]] = {}
    for record, label in zip(material.records, cluster(evidence).tolist(), strict=True):
        groups.setdefault(label, []).append(record)
    return sorted(groups.values(), key=lambda group: (-len(group), group))


def births_apart(material: Material) -> list[tuple[str, str]]:
    """Pairs of records whose full birth dates and given names are two people's, whatever else they share."""
    holders: dict[str, list[str]] = {first: [first] for first in material.payloads}
    for left, right, kind, *_ in material.edges:
        if kind == IDENTICAL and left in holders:
            holders[left].append(right)
    people: dict[tuple[str, str], list[str]] = {}
    for first, (values, _) in material.payloads.items():
        if values.get("birth_full") and values.get("given_key"):
            people.setdefault((values["given_key"], values["birth_full"]), []).extend(holders[first])
    told = sorted(people.items()) if len(people) <= MOST else []
    return [
        (a, b)
        for at, (one, records) in enumerate(told)
        for other, others in told[at + 1 :]
        if two_births(*one, *other)
        for a in records
        for b in others
    ]


def without_edge(material: Material, left: str, right: str, kind: str) -> Material:
    """The evidence less one edge; for a pair of alike payloads, as if the two had never been compared."""
    if kind == DECISION:
        material = replace(material, decisions=[d for d in material.decisions if d[:2] != (left, right)])
    edges = [e for e in material.edges if e[:3] != (left, right, kind)]
    uncompared = {frozenset((left, right))} if kind == "similar" else set()
    return replace(material, edges=edges, uncompared=material.uncompared | uncompared)


def without_value(material: Material, scorer: Scorer | None, kind: str, value: str) -> Material:
    """The evidence as if no record had ever given this identifier: neither shared nor compared, nor a reason to compare."""

    dropped = {"email": ("email", "email_user", "email_local"), "phone": ("phone",)}.get(kind, ())
    several = {left for left, _, sort, *_ in material.edges if sort == IDENTICAL}
    payloads, apart = dict(material.payloads), dict[str, dict[str, Any]]()
    for record, (values, keys) in material.payloads.items():
        if dropped and values.get(kind) == value:
            less_of = {**values, **dict.fromkeys(dropped)}
            left = set(blocking.keys(scorer.model.plan, less_of)) if scorer else set()
            if (record in several or values.get("records", 1) > 1) and scorer and not _one_person(scorer, less_of):
                apart[record], left = less_of, set()
            payloads[record] = (less_of, [key for key in keys if key in left])
    edges = []
    for edge in (rest for edge in material.edges if (rest := _less(edge, kind, value))):
        if edge[2] == IDENTICAL and edge[0] in apart:
            payloads[edge[1]] = (apart[edge[0]], [])  # it has its own now: birth dates count as before
        else:
            edges.append(edge)
    return replace(material, edges=edges, payloads=payloads)


def _less(edge: Edge, kind: str, value: str) -> Edge | None:
    """An edge without one of the values that its records share; None where that was all."""
    evidence = edge[5]
    if evidence.get("identifier") != kind:
        return edge
    # a card or a browser is a record of its own, by whose id the others hang together
    rest = [given for given in shared(evidence) if given != value and not given.endswith(f":{value}")]
    return (*edge[:5], {**evidence, "values": "|".join(rest), "values_shared": len(rest)}) if rest else None


def _one_person(scorer: Scorer, values: dict[str, Any]) -> bool:
    """Whether records of just these values are one person's; else they neither join one another nor anybody, as in the batch."""
    said = complete(values, scorer.model)
    return scorer.weight(said, said) >= scorer.model.threshold


def _ints(rows: list[Any], column: int) -> Any:
    return np.array([row[column] for row in rows], dtype=np.int64)
