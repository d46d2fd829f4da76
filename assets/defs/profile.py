"""Profile and consent: one golden record and one set of flags for each customer."""

import dagster as dg

from assets.checking import check
from assets.platform import Platform
from assets.reporting import OWNERS, report
from assets.sql_assets import sql_asset
from cdp.checks import Finding
from cdp.consent import customers
from cdp.lake.build import sql_tables

CONSENT = "consent"


def flagged(platform: Platform) -> dg.MaterializeResult:
    """The flags of every customer as of the run's time."""
    return report(platform.lake, customers.build_customer_consents(platform.lake, platform.now))


def usable(platform: Platform) -> Finding:
    """Decisions that decide nothing yet: their purpose is not in consent.yaml, or they are dated after the run."""
    rows = customers.unusable(platform.lake, platform.now)
    return Finding(not rows, {"decisions that decide nothing": sum(row["decisions"] for row in rows)}, rows)


@dg.definitions
def defs() -> dg.Definitions:
    """Golden records and consent flags."""
    flags = customers.flags()
    made = dg.asset(
        name=flags.table, group_name=CONSENT, deps=list(flags.inputs), kinds={"duckdb", "sql"}, owners=OWNERS, description=flags.description
    )  # fmt: skip
    can = check(
        "core__consent_decisions", "decisions_can_be_used", "Every decision is for a purpose of consent.yaml, and made before the run.",
        "add the purpose to consent.yaml, or mend the clock or the time zone of the source", usable, reads=["core__purposes"],
    )  # fmt: skip
    return dg.Definitions(
        assets=[
            made(flagged),
            *(sql_asset(CONSENT, table) for table in sql_tables(CONSENT) if table != flags.table),
            *(sql_asset("profile", table) for table in sql_tables("profile")),
        ],
        asset_checks=[can],
    )
