"""The model as plain code: the same weight as Splink's for any two records, without Splink, DuckDB or a table.

What the API runs. Splink computes log2(m / u) of the first level that holds, and for a level with term frequencies adds
log2(u) - log2(share of the value); the sum over all comparisons and the prior is the match weight.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from identity.artefact import Model
from identity.levels import Test, Values


@dataclass(frozen=True)
class Part:
    """What one field says about a pair.

    Attributes:
        comparison: Name of the comparison.
        label: The level that holds, in words.
        weight: Match weight (log2 Bayes factor), the value's rarity included; 0 where a side says nothing.
        rarity: The part of it that the value's rarity makes.
    """

    comparison: str
    label: str
    weight: float
    rarity: float = 0.0


class Scorer:
    """A compiled model.

    Args:
        trained: The model; every record scored is a mapping of its columns to text or None.
    """

    def __init__(self, trained: Model) -> None:
        self.model = trained
        self._steps = [
            (
                c.name,
                c.tests[0],
                [(t, math.log2(m / u), u) for t, (m, u) in zip(c.tests[1:], trained.parameters[c.name], strict=True)],
            )
            for c in trained.comparisons
        ]

    def weight(self, left: Values, right: Values) -> float:
        """Match weight (log2 odds) of a pair."""
        total = self.model.prior_weight
        for _, missing, levels in self._steps:
            if missing.holds(left, right):
                continue
            for test, base, u in levels:
                if test.holds(left, right):
                    total += base + self._rarity(test, u, left)
                    break
        return total

    def parts(self, left: Values, right: Values) -> list[Part]:
        """What every field says, in the model's order; their weights and the prior add up to `weight`."""
        found = []
        for name, missing, levels in self._steps:
            if missing.holds(left, right):
                found.append(Part(name, missing.label, 0.0))
                continue
            for test, base, u in levels:
                if test.holds(left, right):
                    rarity = self._rarity(test, u, left)
                    found.append(Part(name, test.label, base + rarity, rarity))
                    break
        return found

    def matches(self, left: Values, right: Values) -> bool:
        """Whether the batch would hold the pair for one person on these values alone."""
        return self.weight(left, right) >= self.model.threshold

    def _rarity(self, test: Test, u: float, values: Values) -> float:
        if test.term_frequency is None:
            return 0.0
        share = self.model.term_frequencies.get(test.term_frequency, {}).get(
            values[test.term_frequency], self.model.rarest
        )
        return math.log2(u) - math.log2(share)


def complete(values: Mapping[str, Any], trained: Model) -> dict[str, Any]:
    """The values with every column of the model, missing ones as None."""
    return {column: values.get(column) for column in (*COLUMNS_ALWAYS, *trained.columns)}


COLUMNS_ALWAYS = ("first", "root", "family", "words", "rest", "birth_date", "birth_full", "birth_year",
                  "email", "email_user", "email_local", "phone", "postal_code", "district")  # fmt: skip
