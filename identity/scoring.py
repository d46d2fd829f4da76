"""Scores of candidate pairs by Splink: from a table of records and a table of pairs to match weights."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa
import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

from identity.artefact import SHARES, Model
from identity.fields import Comparison
from identity.levels import Test

PAIRS_AT_ONCE = 4_000_000
KEPT = -5.0  # pairs below this match weight are no evidence for anything and are not kept


def settings(comparisons: list[Comparison], **more: Any) -> SettingsCreator:
    """Splink's settings for these comparisons over records with an integer `node`."""
    return SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="node",
        comparisons=[
            cl.CustomComparison(
                output_column_name=c.name,
                comparison_description=c.why,
                comparison_levels=[_level(test, null=position == 0) for position, test in enumerate(c.tests)],
            )
            for c in comparisons
        ],
        blocking_rules_to_generate_predictions=[block_on(comparisons[0].field)],  # pairs are always our own
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=False,
        **more,
    )


def _level(test: Test, *, null: bool) -> Any:
    if null:
        return cll.CustomLevel(test.sql, test.label, base_dialect_str="duckdb").configure(is_null_level=True)
    if test.sql == "ELSE":
        return cll.ElseLevel()
    if test.term_frequency:
        return cll.ExactMatchLevel(test.term_frequency).configure(
            tf_adjustment_column=test.term_frequency, label_for_charts=test.label
        )
    return cll.CustomLevel(test.sql, test.label, base_dialect_str="duckdb")


def trained_settings(trained: Model) -> dict[str, Any]:
    """Splink's settings with the model's parameters in them."""
    made: dict[str, Any] = settings(
        trained.comparisons, probability_two_random_records_match=trained.prior
    ).create_settings_dict("duckdb")
    for comparison in made["comparisons"]:
        wanted = iter(trained.parameters[comparison["output_column_name"]])
        for level in comparison["comparison_levels"]:
            if not level.get("is_null_level"):
                level["m_probability"], level["u_probability"] = next(wanted)
    return made


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
    connection.execute(f"create or replace temp table {out} (l bigint, r bigint, weight double)")
    total = int(connection.execute(f"select count(*) from {pairs}").fetchall()[0][0])
    for start in range(0, total, PAIRS_AT_ONCE):
        chunk = f"select '0' as match_key, l as join_key_l, r as join_key_r from {pairs}"
        if total > PAIRS_AT_ONCE:
            chunk += f" where rowid >= {start} and rowid < {start + PAIRS_AT_ONCE}"
        connection.execute(f"create or replace table memory.main.splink_pairs as {chunk}")
        with linker(connection, trained, table) as (linked, api):
            linked.table_management.register_blocked_pairs_for_predict(api.register("splink_pairs"))
            predicted = linked.inference.predict(threshold_match_weight=least, warning_mode="never")
            connection.execute(f"insert into {out} select node_l, node_r, match_weight from {predicted.physical_name}")
    return int(connection.execute(f"select count(*) from {out}").fetchall()[0][0])


@contextmanager
def linker(connection: duckdb.DuckDBPyConnection, trained: Model, table: str) -> Iterator[tuple[Linker, DuckDBAPI]]:
    """A Splink linker over `table` with the model's parameters and term frequencies; its tables go with the block."""
    with quiet():
        api = DuckDBAPI(connection)
        made = Linker(api.register(table), trained_settings(trained), log_level=logging.ERROR)
        for column, shares in trained.term_frequencies.items():
            view = f"splink_tf_{column}"
            _frequencies(connection, table, column, shares, trained.rarest, view)
            made.table_management.register_term_frequency_lookup(api.register(view), column)
        try:
            yield made, api
        finally:
            made.table_management.delete_tables_created_by_splink_from_db()


def _frequencies(
    connection: duckdb.DuckDBPyConnection, table: str, column: str, shares: dict[str, float], rarest: float, view: str
) -> None:
    """Every value of the records with its share; one that the model never saw counts as held by a single record."""
    known = pa.table({"value": list(shares), "share": list(shares.values())}, schema=SHARES)
    connection.register("known_shares", known)
    try:
        connection.execute(
            f"create or replace table memory.main.{view} as "
            f"select v.{column}, coalesce(k.share, {rarest!r}) as tf_{column} "
            f"from (select distinct {column} from {table} where {column} is not null) v "
            f"left join known_shares k on k.value = v.{column}"
        )
    finally:
        connection.unregister("known_shares")


@contextmanager
def quiet() -> Iterator[None]:
    """Splink reports every estimate to the log; ours says what matters."""
    logger = logging.getLogger("splink")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
