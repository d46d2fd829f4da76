"""Profile and consent: one golden record and one set of flags for each customer."""

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, report
from assets.sql_assets import sql_asset
from cdp.consent import customers
from cdp.lake.build import sql_tables

CONSENT = "consent"


@dg.asset(
    group_name=CONSENT,
    deps=list(customers.FLAGS.inputs),
    kinds={"duckdb", "sql"},
    owners=OWNERS,
    description=customers.FLAGS.description,
)
def core__customer_consents(platform: Platform) -> dg.MaterializeResult:
    """The flags of every customer as of the run's time."""
    return report(platform.lake, customers.build_customer_consents(platform.lake, platform.now))


@dg.definitions
def defs() -> dg.Definitions:
    """Golden records and consent flags."""
    return dg.Definitions(
        assets=[
            core__customer_consents,
            *(sql_asset(CONSENT, table) for table in sql_tables(CONSENT) if table != customers.FLAGS.table),
            *(sql_asset("profile", table) for table in sql_tables("profile")),
        ]
    )
