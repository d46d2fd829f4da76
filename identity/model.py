"""The Splink model: which fields speak for or against two records being one person, and why.

Every function builds fresh objects: Splink configures comparisons in place.
"""

from typing import Any

import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import SettingsCreator, block_on

FIELDS = ("given_key", "family_key", "birth_date", "email", "email_local", "phone", "postal_code", "city")
TERM_FREQUENCIES = ("given_key", "family_key", "postal_code")


def settings() -> SettingsCreator:
    """Comparisons and blocking over payloads (distinct sets of field values)."""
    return SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="payload_id",
        comparisons=[_given(), _family(), _birth_date(), _email(), _phone(), _postal_code()],
        blocking_rules_to_generate_predictions=blocking(),
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=True,
        em_convergence=0.001,
    )


def blocking() -> list[Any]:
    """Pairs worth scoring: each rule survives an error in the fields it leaves out."""
    return [
        block_on("family_key", "given_key"),
        block_on("family_key", "postal_code"),
        block_on("given_key", "postal_code"),
        block_on("email_local"),
        block_on("phone", "family_key"),
        block_on("birth_date", "family_key"),
        block_on("birth_date", "given_key"),
    ]


def _name(column: str, why: str) -> cl.CustomComparison:
    return cl.CustomComparison(
        output_column_name=column,
        comparison_description=why,
        comparison_levels=[
            cll.NullLevel(column),
            cll.ExactMatchLevel(column).configure(tf_adjustment_column=column),
            cll.JaroWinklerLevel(column, 0.92),
            cll.JaroWinklerLevel(column, 0.8),
            cll.ElseLevel(),
        ],
    )


def _given() -> cl.CustomComparison:
    return _name("given_key", "Given name: tells people of one household apart; common names weigh less")


def _family() -> cl.CustomComparison:
    return _name("family_key", "Family name: shared in households, misspelt at tills; common names weigh less")


def _birth_date() -> cl.CustomComparison:
    return cl.CustomComparison(
        output_column_name="birth_date",
        comparison_description="Birth date: 1 January is a placeholder and counts as missing; one slipped digit is near",
        comparison_levels=[
            cll.NullLevel("birth_date"),
            cll.ExactMatchLevel("birth_date"),
            cll.LevenshteinLevel("birth_date", 1),
            cll.ElseLevel(),
        ],
    )


def _email() -> cl.CustomComparison:
    return cl.CustomComparison(
        output_column_name="email",
        comparison_description="E-mail: people change providers and keep the local part",
        comparison_levels=[
            cll.NullLevel("email"),
            cll.ExactMatchLevel("email"),
            cll.ExactMatchLevel("email_local"),
            cll.ElseLevel(),
        ],
    )


def _phone() -> cl.CustomComparison:
    return cl.CustomComparison(
        output_column_name="phone",
        comparison_description="Phone: shared by households, so it is one voice among others here",
        comparison_levels=[cll.NullLevel("phone"), cll.ExactMatchLevel("phone"), cll.ElseLevel()],
    )


def _postal_code() -> cl.CustomComparison:
    return cl.CustomComparison(
        output_column_name="postal_code",
        comparison_description="Postcode: a household's; people move; rare ones weigh more",
        comparison_levels=[
            cll.NullLevel("postal_code"),
            cll.ExactMatchLevel("postal_code").configure(tf_adjustment_column="postal_code"),
            cll.ElseLevel(),
        ],
    )
