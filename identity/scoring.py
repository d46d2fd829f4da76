"""Scores of candidate pairs: the match weight that Splink gives them under a model it learnt, as one select.

Splink learns the model (`identity.train`) for any settings, and asks for weights in general terms: three statements that write
the columns of all pairs down, fourteen joins for the term frequencies, a second to make up the texts. Of a model that is known
the weight of a pair is a sum of one case for each comparison, which streams. It halves the time of many pairs and leaves
nearly nothing of the time of few; `tests/identity/test_scorer.py` holds it to Splink's own weights.
"""

import math

import duckdb
import pyarrow as pa

from identity.artefact import SHARES, Model
from identity.fields import Comparison

KEPT = -5.0  # pairs below this match weight are no evidence for anything and are not kept


def score(connection: duckdb.DuckDBPyConnection, trained: Model, table: str, pairs: str, out: str, least: float) -> int:
    """`out(l, r, weight)` in memory: the pairs that weigh at least `least`; returns how many.

    Args:
        connection: Where the records are.
        trained: The model.
        table: Records: `node` and the model's columns.
        pairs: Table of pairs of nodes `(l, r)`; a pair of a node with itself says what its values are worth.
        out: Name of the temporary table to make.
        least: Match weight (log2 odds).
    """
    weight = weight_sql(trained)
    named = [row[0] for row in connection.execute(f"describe {table}").fetchall()]
    read = [column for column in named if f"{column}_l" in weight or f"{column}_r" in weight]
    _values(connection, trained, table, read)
    columns = [*read, *(f"bits_{column}" for column in trained.term_frequencies)]
    both = ", ".join(f"a.{column} as {column}_l, b.{column} as {column}_r" for column in columns)
    connection.execute(
        f"create or replace temp table {out} as select * from (select l, r, {weight} as weight from (select p.l, p.r, {both} "
        f"from {pairs} p join scored_values a on a.node = p.l join scored_values b on b.node = p.r)) where weight >= {least!r}"
    )
    connection.execute("drop table scored_values")
    return int(connection.execute(f"select count(*) from {out}").fetchall()[0][0])


def weight_sql(trained: Model) -> str:
    """The match weight over `<column>_l` and `<column>_r`, and `bits_<column>_l`: log2 of the share of records of a value."""
    return " + ".join([f"cast({trained.prior_weight!r} as double)", *(_case(trained, c) for c in trained.comparisons)])


def _case(trained: Model, comparison: Comparison) -> str:
    """log2(m / u) of the first level that holds, with log2(u) - log2(share) where it counts how rare the value is."""
    worth = [
        f"{math.log2(m)!r} - bits_{test.term_frequency}_l" if test.term_frequency else f"{math.log2(m / u)!r}"
        for test, (m, u) in zip(comparison.tests[1:], trained.parameters[comparison.name], strict=True)
    ]
    return comparison.case("0.0", worth)


def _values(connection: duckdb.DuckDBPyConnection, trained: Model, table: str, read: list[str]) -> None:
    """`scored_values`: these columns of the records, and how rare their values are."""
    joins, bits = [], []
    for column, shares in trained.term_frequencies.items():
        known = pa.table({"value": list(shares), "share": list(shares.values())}, schema=SHARES)
        connection.register("known_shares", known)
        connection.execute(
            f"create or replace temp table shares_{column} as select value, log2(share) as bits from known_shares"
        )
        connection.unregister("known_shares")
        joins.append(f"left join shares_{column} on shares_{column}.value = n.{column}")
        # one that the model never saw counts as held by a single record
        bits.append(f"coalesce(shares_{column}.bits, {math.log2(trained.rarest)!r}) as bits_{column}")
    connection.execute(
        f"create or replace temp table scored_values as select {', '.join(['node', *(f'n.{c}' for c in read), *bits])} "
        f"from {table} n {' '.join(joins)}"
    )
    for column in trained.term_frequencies:
        connection.execute(f"drop table shares_{column}")
