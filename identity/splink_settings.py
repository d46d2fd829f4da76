"""The comparisons as Splink's settings: what it learns a model with."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import SettingsCreator, block_on

from identity.fields import Comparison
from identity.levels import OTHERWISE, Test


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
    if test.sql == OTHERWISE:
        return cll.ElseLevel()
    if test.term_frequency:
        return cll.ExactMatchLevel(test.term_frequency).configure(
            tf_adjustment_column=test.term_frequency, label_for_charts=test.label
        )
    return cll.CustomLevel(test.sql, test.label, base_dialect_str="duckdb")


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
