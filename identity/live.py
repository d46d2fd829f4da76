"""Who is this, now: a partial person against the published payloads, by the batch's keys, weights and guard."""

from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg

from identity import blocking, names
from identity.guards import two_people
from identity.scorer import Part, Scorer, complete

Tier = Literal["exact", "strong", "possible"]
MOST_CANDIDATES = 500
POSSIBLE = -1.0  # log2 odds: one in three
# Materialised: with a limit beside it, the planner takes the index on keys for no better than reading the whole table. Of too
# many those are compared that have most keys in common.
CANDIDATES = """
    with hit as materialized (select record_id, compared, keys from payloads where keys && %(keys)s::bigint[])
    select h.record_id, h.compared, a.customer_id::text
    from (
        select record_id, compared from hit
        order by (select count(*) from unnest(keys) as own(key) where key = any(%(keys)s::bigint[])) desc, record_id limit %(most)s
    ) h join assignment a using (record_id)
"""
# A value of so many records is nobody's own; of the others every holder is seen, however many records one has.
MOST_HOLDERS = 2_000
HOLDERS = """
    select asked.type, asked.value, h.customer_id, h.given, h.record_id, h.records
    from unnest(%s::text[], %s::text[]) as asked(type, value)
    cross join lateral (
        select a.customer_id::text, array_agg(distinct r.fields ->> 'given_key') as given, min(i.record_id) as record_id,
            sum(count(*)) over () as records
        from (select record_id from identifiers where type = asked.type and value = asked.value limit %s) i
        join assignment a using (record_id) join contact_records r using (record_id)
        group by a.customer_id order by count(*) desc, a.customer_id limit 100
    ) h
"""


@dataclass
class Candidate:
    """A customer that may be the person.

    Attributes:
        customer_id: Who.
        tier: `exact`: an identifier that this customer alone holds, and no name against it; `strong`: the batch would hold
            the values for one person; `possible`: worth asking.
        weight: Best match weight (log2 odds) of the values; None where only identifiers speak.
        record_id: The record that speaks for it.
        identifiers: Types of identifiers in common.
        parts: What each field says.
    """

    customer_id: str
    tier: Tier = "possible"
    weight: float | None = None
    record_id: str = ""
    identifiers: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


def resolve(
    store: psycopg.Connection, scorer: Scorer | None, values: dict[str, Any], identifiers: list[tuple[str, str]]
) -> list[Candidate]:
    """Candidates, the surest first.

    Args:
        store: The store.
        scorer: The compiled model; None where none was trained.
        values: Columns of a payload (see `person.values`).
        identifiers: (type, value) in standard form that the person gives.
    """
    found: dict[str, Candidate] = {}
    _by_identifier(store, values, identifiers, found)
    if scorer is not None and values.get("is_full_name"):
        _by_values(store, scorer, values, found)
    order = {"exact": 0, "strong": 1, "possible": 2}
    return sorted(
        found.values(), key=lambda c: (order[c.tier], -(c.weight if c.weight is not None else -99.0), c.customer_id)
    )


def _by_identifier(
    store: psycopg.Connection, values: dict[str, Any], identifiers: list[tuple[str, str]], found: dict[str, Candidate]
) -> None:
    """Holders of the identifiers. One that several customers hold, or whose holder goes by another given name, is no proof."""
    if not identifiers:
        return
    asked = [[t for t, _ in identifiers], [v for _, v in identifiers], MOST_HOLDERS]
    holders: dict[tuple[str, str], set[str]] = {}
    against: set[str] = set()
    common: set[tuple[str, str]] = set()
    for kind, value, customer, given, record, records in store.execute(HOLDERS, asked).fetchall():
        holders.setdefault((kind, value), set()).add(customer)
        candidate = found.setdefault(customer, Candidate(customer, record_id=record))
        if kind not in candidate.identifiers:
            candidate.identifiers.append(kind)
        if records >= MOST_HOLDERS:
            common.add((kind, value))
        if not all(names.compatible(name, values.get("given_key")) for name in given):
            against.add(customer)
    for identifier, customers in holders.items():
        for customer in customers:
            if len(customers) == 1 and customer not in against and identifier not in common:
                found[customer].tier = "exact"


def _by_values(store: psycopg.Connection, scorer: Scorer, values: dict[str, Any], found: dict[str, Candidate]) -> None:
    keys = blocking.keys(scorer.model.plan, values)
    own = complete(values, scorer.model)
    for record, compared, customer in store.execute(CANDIDATES, {"keys": keys, "most": MOST_CANDIDATES}).fetchall():
        if two_people(values, compared):
            continue
        other = complete(compared, scorer.model)
        weight = scorer.weight(own, other)
        if weight < POSSIBLE:
            continue
        candidate = found.setdefault(customer, Candidate(customer))
        if candidate.weight is None or weight > candidate.weight:
            candidate.weight, candidate.record_id = weight, record
            candidate.parts = [part for part in scorer.parts(own, other) if part.weight]
            if weight >= scorer.model.threshold and candidate.tier == "possible":
                candidate.tier = "strong"
