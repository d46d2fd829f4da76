"""Scores of a clustering against a truth: pairwise precision, recall and F1, and B-cubed."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


def linkable(truth: Path) -> list[tuple[str, str]]:
    """(record, person) of the records of a case's `truth/records.csv` that anything says who they are."""
    with truth.open(encoding="utf-8") as file:
        return [(row["record_id"], row["person_id"]) for row in csv.DictReader(file) if row["linkable"] == "1"]


@dataclass(frozen=True)
class Scores:
    """How well a clustering matches the truth; all shares between 0 and 1."""

    precision: float
    recall: float
    f1: float
    b_cubed: float
    largest: int
    largest_true: int
    records: int

    def figures(self) -> dict[str, float | str]:
        """As a table shows them: shares to four places, the largest cluster beside the largest person."""
        shares = {name: round(getattr(self, name), 4) for name in ("precision", "recall", "f1", "b_cubed")}
        return {**shares, "largest": f"{self.largest}/{self.largest_true}"}


def score(predicted: Mapping[str, str], truth: Iterable[tuple[str, str]]) -> Scores:
    """Compare; a record of the truth that was not clustered counts as a cluster of its own.

    B-cubed: Bagga and Baldwin (1998), the harmonic mean of its precision and recall.

    Args:
        predicted: Record → cluster.
        truth: (record, person) of the records that count.
    """
    together: dict[str, Counter[str]] = defaultdict(Counter)
    people: Counter[str] = Counter()
    for record, person in truth:
        together[predicted.get(record, f"alone:{record}")][person] += 1
        people[person] += 1
    clusters = {name: sum(members.values()) for name, members in together.items()}
    joined = sum(_pairs(n) for members in together.values() for n in members.values())
    precision = joined / max(1, sum(_pairs(n) for n in clusters.values()))
    recall = joined / max(1, sum(_pairs(n) for n in people.values()))
    total = max(1, sum(people.values()))
    b_precision = sum(n * n / clusters[c] for c, members in together.items() for n in members.values()) / total
    b_recall = sum(n * n / people[p] for members in together.values() for p, n in members.items()) / total
    return Scores(
        precision=precision,
        recall=recall,
        f1=_harmonic(precision, recall),
        b_cubed=_harmonic(b_precision, b_recall),
        largest=max(clusters.values(), default=0),
        largest_true=max(people.values(), default=0),
        records=sum(people.values()),
    )


def _pairs(n: int) -> int:
    return n * (n - 1) // 2


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
