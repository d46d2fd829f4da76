"""Stewards' decisions as labels: how often a model agrees with people on the pairs they were asked about."""

from dataclasses import dataclass

import psycopg

from cdp.store import decisions, evidence
from identity.artefact import Model
from identity.guards import two_people
from identity.scorer import Scorer, complete

CORRECTION = "console:"  # an agent's correction is joined because it was made there: nobody compared anything


@dataclass(frozen=True)
class Measured:
    """A model against the labels.

    Attributes:
        labels: Decided pairs (same or different) whose values can be compared.
        agreeing: Those on whose side of the threshold the model stands too.
        missed: Pairs of one person that it would not join.
        wrong: Pairs of two people that it would join.
        joined: All that it would join.
    """

    labels: int
    agreeing: int
    missed: int
    wrong: int
    joined: int


def measure(store: psycopg.Connection, trained: Model) -> Measured:
    """Borderline pairs are what people are asked about: this says how good the model is where it is least sure."""
    splits = {str(row[0]) for row in store.execute("select changeset_id from changesets where kind = 'split'")}
    decided = [
        (a, b, v)
        for a, b, v, _, act in decisions.standing(store)
        if v in ("same", "different")
        and not a.startswith(CORRECTION)
        and not b.startswith(CORRECTION)
        and not (v == "same" and act in splits)  # nobody judged the pairs of what was left together
    ]
    material = evidence.of_records(store, sorted({r for a, b, _ in decided for r in (a, b)}))
    firsts, scorer = evidence.firsts(material), Scorer(trained)
    found = []
    for left, right, verdict in decided:
        if left in firsts and right in firsts:
            one, other = (material.payloads[firsts[record]][0] for record in (left, right))
            joined = not two_people(one, other) and scorer.matches(complete(one, trained), complete(other, trained))
            found.append((verdict == "same", joined))
    missed = sum(same and not joined for same, joined in found)
    wrong = sum(joined and not same for same, joined in found)
    return Measured(len(found), len(found) - missed - wrong, missed, wrong, sum(joined for _, joined in found))
