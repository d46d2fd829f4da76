"""Profile and consent: one golden record and one set of flags for each customer."""

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, report
from assets.sql_assets import sql_asset
from cdp.consent import customers
from cdp.lake.build import sql_tables


@dg.asset(group_name="consent", deps=list(customers.INPUTS), kinds={"python", "duckdb"}, owners=OWNERS)
def core__customer_consents(platform: Platform) -> dg.MaterializeResult:
    """Grain: customer × purpose × contact point. Effective consent with the deciding decision; no row means never asked."""
    return report(platform.lake, customers.build_customer_consents(platform.lake, platform.policy, platform.now))


@dg.definitions
def defs() -> dg.Definitions:
    """Golden records and consent flags."""
    return dg.Definitions(
        assets=[core__customer_consents, *(sql_asset("profile", table) for table in sql_tables("profile"))]
    )
