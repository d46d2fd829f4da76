"""A model for a file of few records, which teach too little by themselves.

All pairs are compared, so that no blocking biases what is seen, and m and the prior are learnt by expectation maximisation with
Dirichlet priors (MAP; Dempster, Laird and Rubin 1977): what is usual counts as much as `usual.WORTH` pairs. u is the share among all
pairs, as in any Fellegi–Sunter model that takes random pairs for pairs of two people, beside what is usual likewise.
"""

import math

import duckdb
import numpy as np
from numpy.typing import NDArray

from identity import fields, usual
from identity.fields import Comparison
from identity.levels import OTHERWISE

MOST_RECORDS = 2000  # two million pairs: seconds
ROUNDS = 100
Floats = NDArray[np.float64]
Levels = NDArray[np.int64]


def learn(
    connection: duckdb.DuckDBPyConnection, table: str, comparisons: list[Comparison]
) -> tuple[float, dict[str, list[tuple[float, float]]]]:
    """The prior, and (m, u) of every level of every comparison.

    Args:
        connection: Where the records are.
        table: `node` and the columns that are compared.
        comparisons: At least one.
    """
    patterns, pairs = _patterns(connection, table, comparisons)
    shown = [usual.shares(comparison) for comparison in comparisons]
    u = [_beside(_counted(patterns[:, at], pairs, len(known)), known) for at, (_, known) in enumerate(shown)]
    m = [np.array(known) for known, _ in shown]
    every = float(pairs.sum())
    prior = usual.PRIOR
    for _ in range(ROUNDS):
        matching = pairs * _probability(patterns, prior, m, u)
        m = [_beside(_counted(patterns[:, at], matching, len(known)), known) for at, (known, _) in enumerate(shown)]
        before, prior = prior, prior_of(float(matching.sum()), every)
        if abs(math.log(prior / before)) < 1e-5:
            break
    learnt = {c.name: list(zip(m[at].tolist(), u[at].tolist(), strict=True)) for at, c in enumerate(comparisons)}
    return prior, learnt


def prior_of(matches: float, pairs: float) -> float:
    """Share of pairs that are one person's, beside what is usual."""
    return (matches + usual.WORTH * usual.PRIOR) / (pairs + usual.WORTH)


def _patterns(
    connection: duckdb.DuckDBPyConnection, table: str, comparisons: list[Comparison]
) -> tuple[Levels, Floats]:
    """(patterns × comparisons: level that holds, -1 where a side says nothing; how many pairs of records show the pattern)."""
    named = [row[0] for row in connection.execute(f"describe {table}").fetchall()]
    both = ", ".join(f"a.{c} as {c}_l, b.{c} as {c}_r" for c in named if c in fields.COLUMNS)
    levels = ", ".join(f"{_level(comparison)} as {comparison.name}" for comparison in comparisons)
    found = connection.execute(
        f"select {', '.join(c.name for c in comparisons)}, count(*) from (select {levels} from "
        f"(select {both} from {table} a join {table} b on a.node < b.node)) group by all order by all"
    ).fetchall()
    rows = np.array(found, dtype=np.int64).reshape(-1, len(comparisons) + 1)
    return rows[:, :-1], rows[:, -1].astype(np.float64)


def _level(comparison: Comparison) -> str:
    missing, *tests = comparison.tests
    cases = " ".join(
        f"else {at}" if test.sql == OTHERWISE else f"when {test.sql} then {at}" for at, test in enumerate(tests)
    )
    return f"case when {missing.sql} then -1 {cases} end"


def _counted(level: Levels, pairs: Floats, levels: int) -> Floats:
    said = level >= 0
    counts: Floats = np.bincount(level[said], weights=pairs[said], minlength=levels).astype(np.float64)
    return counts


def _beside(counts: Floats, known: list[float]) -> Floats:
    shares: Floats = (counts + usual.WORTH * np.array(known)) / (counts.sum() + usual.WORTH)
    return shares


def _probability(patterns: Levels, prior: float, m: list[Floats], u: list[Floats]) -> Floats:
    """That a pair of each pattern is one person's."""
    odds = np.full(len(patterns), math.log(prior / (1 - prior)))
    for at, (of_one, of_two) in enumerate(zip(m, u, strict=True)):
        said = patterns[:, at] >= 0
        odds[said] += np.log(of_one / of_two)[patterns[said, at]]
    probability: Floats = 1 / (1 + np.exp(-odds))
    return probability
