"""Profile and consent: one golden record and one set of flags for each customer."""

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, report
from assets.sql_assets import sql_asset
from cdp.consent import customers
from cdp.lake.build import sql_tables

CONSENT = "consent"


def flagged(platform: Platform) -> dg.MaterializeResult:
    """The flags of every customer as of the run's time."""
    return report(platform.lake, customers.build_customer_consents(platform.lake, platform.now))


@dg.asset_check(asset="core__consent_decisions", additional_deps=["core__purposes"])
def decisions_can_be_used(platform: Platform) -> dg.AssetCheckResult:
    """Decisions that decide nothing yet: their purpose is not in consent.yaml, or they are dated after the run."""
    rows = [dg.TableRecord(row) for row in customers.unusable(platform.lake, platform.now)]
    hint = "add the purpose to consent.yaml, or mend the clock or the time zone of the source"
    return dg.AssetCheckResult(
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"decisions": dg.MetadataValue.table(rows, _UNUSABLE), "what to do": hint},
    )


_UNUSABLE = dg.TableSchema(
    [dg.TableColumn(name, "string") for name in ("why", "source", "purpose")] + [dg.TableColumn("decisions", "int")]
)


@dg.definitions
def defs() -> dg.Definitions:
    """Golden records and consent flags."""
    flags = customers.flags()
    made = dg.asset(
        name=flags.table, group_name=CONSENT, deps=list(flags.inputs), kinds={"duckdb", "sql"}, owners=OWNERS, description=flags.description
    )  # fmt: skip
    return dg.Definitions(
        assets=[
            made(flagged),
            *(sql_asset(CONSENT, table) for table in sql_tables(CONSENT) if table != flags.table),
            *(sql_asset("profile", table) for table in sql_tables("profile")),
        ],
        asset_checks=[decisions_can_be_used],
    )
