"""What the pairs of a file show of m and u, informed by what is usual: for files that teach Splink's sessions too little.

A session of those learns fields beside the ones it blocks on, so that a file with two or three fields, or of few records, leaves some
untaught. Here one expectation maximisation goes over all pairs, or over all candidates, among which nearly every match is, with
Dirichlet priors (MAP; Dempster, Laird and Rubin 1977): what is usual counts as much as `usual.WORTH` pairs. u is learnt with it, over
random pairs less those of one person: in a small file these are most of the pairs that agree in an e-mail.
"""

import math
from collections.abc import Mapping

import duckdb
import numpy as np
from numpy.typing import NDArray

from identity import blocking, fields, usual
from identity.fields import Comparison

SESSION = "all pairs at once, beside what is usual"
FEW = 2000  # records all pairs of which are compared: two million, seconds
RANDOM_PAIRS = 1_000_000  # at most as many candidates are looked at
ROUNDS = 100
# Share of one person's pairs that may differ in it: above it they are several people's, of one home or of one name.
MOST_DIFFERENT = {"first": 0.5, "birth_date": 0.5}
Floats = NDArray[np.float64]
Levels = NDArray[np.int64]
Learnt = dict[str, list[tuple[float, float]]]


def learn(
    connection: duckdb.DuckDBPyConnection, table: str, comparisons: list[Comparison], candidates: int, *, dated: bool
) -> tuple[float, Learnt]:
    """The prior, and (m, u) of every level of every comparison.

    Args:
        connection: Where the records are.
        table: `node`, counted from 0 without a gap, and the columns that are compared.
        comparisons: At least one.
        candidates: How many `candidate_pairs` there are; of many records the other pairs count as no matches.
        dated: Whether birth dates have days.
    """
    records = int(connection.execute(f"select count(*) from {table}").fetchall()[0][0])
    every = records * (records - 1) / 2
    if records <= FEW:
        patterns, pairs = random, drawn = _patterns(
            connection, table, comparisons, f"{table} a join {table} b on a.node < b.node"
        )
    else:
        random, drawn = _patterns(connection, table, comparisons, _random(table, records))
        share, chosen = blocking.part_of(candidates, RANDOM_PAIRS)
        taken = f"(from candidate_pairs where {chosen}) p"
        patterns, pairs = _patterns(connection, table, comparisons, f"{taken} join {table} a on a.node = p.l join {table} b on b.node = p.r")  # fmt: skip
        pairs /= share
    shown = [usual.shares(comparison) for comparison in comparisons]
    u = [_beside(_counted(random[:, at], drawn, len(known)), known) for at, (_, known) in enumerate(shown)]
    m = [np.array(known) for known, _ in shown]
    prior = usual.PRIOR
    for _ in range(ROUNDS):
        matching = pairs * _probability(patterns, prior, m, u)
        m = [_beside(_counted(patterns[:, at], matching, len(known)), known) for at, (known, _) in enumerate(shown)]
        others = drawn * (1 - _probability(random, prior, m, u))
        u = [_beside(_counted(random[:, at], others, len(known)), known) for at, (_, known) in enumerate(shown)]
        before, prior = prior, prior_of(float(matching.sum()), every)
        if abs(math.log(prior / before)) < 1e-5:
            break
    different = {comparison.name: float(m[at][-1]) for at, comparison in enumerate(comparisons)}
    if of_several(different, dated=dated):  # only what is usual tells people apart
        m = [np.array(known) for known, _ in shown]
    return prior, {c.name: list(zip(m[at].tolist(), u[at].tolist(), strict=True)) for at, c in enumerate(comparisons)}


def prior_of(matches: float, pairs: float) -> float:
    """Share of pairs that are one person's, beside what is usual."""
    return (matches + usual.WORTH * usual.PRIOR) / (pairs + usual.WORTH)


def _random(table: str, records: int) -> str:
    sides = ", ".join(f"hash(n, '{side}') % {records} as {side}" for side in ("l", "r"))
    drawn = f"(select {sides} from range({RANDOM_PAIRS}) as numbers(n)) p"
    return f"{drawn} join {table} a on a.node = p.l join {table} b on b.node = p.r and p.l <> p.r"


def _patterns(
    connection: duckdb.DuckDBPyConnection, table: str, comparisons: list[Comparison], pairs: str
) -> tuple[Levels, Floats]:
    """(patterns × comparisons: level that holds, -1 where a side says nothing; how many pairs `a`, `b` show the pattern)."""
    named = [row[0] for row in connection.execute(f"describe {table}").fetchall()]
    both = ", ".join(f"a.{c} as {c}_l, b.{c} as {c}_r" for c in named if c in fields.COLUMNS)
    levels = ", ".join(f"{c.case('-1', map(str, range(len(c.tests) - 1)))} as {c.name}" for c in comparisons)
    found = connection.execute(
        f"select {', '.join(c.name for c in comparisons)}, count(*) from (select {levels} from (select {both} from {pairs})) "
        "group by all order by all"
    ).fetchall()
    rows = np.array(found, dtype=np.int64).reshape(-1, len(comparisons) + 1)
    return rows[:, :-1], rows[:, -1].astype(np.float64)


def of_several(different: Mapping[str, float], *, dated: bool) -> bool:
    """Whether what was taken for one person's pairs are several people's.

    Args:
        different: Comparison → share of those pairs that differ in it.
        dated: Whether birth dates have days: a year that an age was read as is another one in the next file.
    """
    return any(
        different.get(name, 0.0) > most for name, most in MOST_DIFFERENT.items() if dated or name != "birth_date"
    )


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
