"""Loyalty: what orders should have posted, what the ledger holds."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from assets import charts
from assets.checking import result
from assets.platform import Platform
from assets.reporting import OWNERS, report
from assets.sql_assets import sql_asset
from cdp.checks import Finding
from cdp.lake.build import Built, build, sql_file, sql_tables, timed
from cdp.lake.engine import Lake
from cdp.loyalty import history, reconcile, referrals, reports, settle, targets
from cdp.loyalty.programme import Programme
from cdp.store import idempotency

GROUP = "loyalty"
Say = Callable[[str], None]
DIFFERS = (
    "run again ('cdp run --force'): what differs is derived anew; what stays is named in the log by account and order"
)


@dg.asset(group_name=GROUP, deps=list(targets.INPUTS), kinds={"python", "duckdb"}, owners=OWNERS)
def core__loyalty_targets(platform: Platform) -> dg.MaterializeResult:
    """Grain: order or event × unit × what it posts. What each should have posted, or the stated reason for none."""
    return report(platform.lake, targets.build_targets(platform.lake, platform.store, platform.programme))


@timed  # posting is most of it
def posted(lake: Lake, platform: Platform, say: Say) -> tuple[Built, int, dict[str, int]]:
    """What is owed is posted, what ended is written off, and the ledger is read back; entries written, referrals by outcome."""
    written = settle.settle(lake, platform.store, platform.programme, platform.now, say)
    rewarded, claims = referrals.settle(platform.store, platform.programme, platform.now)
    if (written or rewarded) and platform.programme.asks_the_past:
        platform.leave_undone()  # what has posted may change what orders owe
    written += rewarded + reconcile.expire(platform.store, platform.programme, platform.now)
    return history.build_entries(lake, platform.store), written, claims


@timed
def mended(lake: Lake, platform: Platform, say: Say) -> tuple[Built, list[tuple[str, int, bool]], reconcile.Reconciled]:
    """What does not add up is derived again, and what was found is kept."""
    found = reconcile.mend(platform.store, platform.programme, platform.now, say)
    return *reconcile.build_reconciliation(lake, found), found


@dg.asset(
    group_name=GROUP,
    deps=["core__loyalty_targets", "ops__published"],
    kinds={"postgres", "duckdb"},
    owners=OWNERS,
)
def core__ledger_entries(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: ledger entry. Posts what orders owe, then reads the ledger back: the store is its authority."""
    built, written, claims = posted(platform.lake, platform, context.log.info)
    return report(
        platform.lake,
        built,
        extra={"entries written": written, **{f"referrals {k}": n for k, n in sorted(claims.items())}},
    )


@dg.asset(
    group_name=GROUP,
    deps=["core__ledger_entries", "core__loyalty_targets", "core__orders"],
    kinds={"postgres", "duckdb"},
    owners=OWNERS,
    check_specs=[
        dg.AssetCheckSpec(
            "books_add_up",
            asset=reconcile.TABLE,
            description="Σ open lots − Σ deficits = balance = Σ entries in every account; every order earned or says why not.",
        )
    ],
)
def ops__loyalty_reconciliation(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: measure. What does not add up is derived again from its entries, counted, and named if it still does not."""
    idempotency.forget(platform.store, platform.now)
    built, rows, found = mended(platform.lake, platform, context.log.warning)
    if found.mended or found.wrong:  # after the ledger was read back
        platform.leave_undone()
    facts = {measure: count for measure, count, _ in rows}
    check = result(Finding(all(well for _, _, well in rows), facts), DIFFERS, name="books_add_up", blocking=True)
    return report(platform.lake, built, check_results=[check])


@dg.asset(group_name=GROUP, deps=["core__ledger_entries"], kinds={"postgres"}, owners=OWNERS)
def core__ledger_lots(platform: Platform) -> dg.MaterializeResult:
    """Grain: lot. What is left of each credit, and when it ends."""
    return report(platform.lake, history.build_lots(platform.lake, platform.store))


@dg.asset(group_name=GROUP, deps=["core__ledger_entries"], kinds={"postgres"}, owners=OWNERS)
def core__ledger_draws(platform: Platform) -> dg.MaterializeResult:
    """Grain: debit × lot it drew from."""
    return report(platform.lake, history.build_draws(platform.lake, platform.store))


@dg.asset(group_name=GROUP, deps=["core__loyalty_targets"], kinds={"python"}, owners=OWNERS)
def core__loyalty_terms(platform: Platform) -> dg.MaterializeResult:
    """Grain: unit of the programme. What it costs, how much of it is expected to be redeemed, and the day of the run."""
    return report(platform.lake, reports.build_terms(platform.lake, platform.programme, platform.now))


@dg.asset(group_name=GROUP, deps=["core__ledger_entries"], kinds={"python"}, owners=OWNERS)
def core__loyalty_rewards(platform: Platform) -> dg.MaterializeResult:
    """Grain: reward × unit it costs, with how many were taken."""
    return report(platform.lake, reports.build_rewards(platform.lake, platform.store, platform.programme))


@dg.asset(group_name=GROUP, deps=["core__ledger_entries", "core__record_customers"], kinds={"python"}, owners=OWNERS)
def core__customer_tiers(platform: Platform) -> dg.MaterializeResult:
    """Grain: customer that has earned. The level held, since when, until when, and what the next one takes."""
    built = reports.build_tiers(platform.lake, platform.programme, platform.now)
    return report(platform.lake, built, plots={"levels": partial(charts.levels, platform.lake)})


@dg.asset(group_name=GROUP, deps=["core__ledger_draws", "core__ledger_lots"], kinds={"python"}, owners=OWNERS)
def mart__redemption_curve(platform: Platform) -> dg.MaterializeResult:
    """Grain: unit × age in days. The share of units that is spent by then (Kaplan–Meier): what is not is breakage."""
    built = reports.build_curve(platform.lake, platform.programme, platform.now)
    return report(platform.lake, built, plots={"curve": partial(charts.curve, platform.lake)})


def _charted(table: str, chart: Callable[[Lake, Programme], dg.MarkdownMetadataValue]) -> dg.AssetsDefinition:
    """The asset of an SQL file, with a chart of what it made."""
    select = sql_file(GROUP, table)

    @dg.asset(
        name=table,
        group_name=GROUP,
        deps=list(select.inputs),
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        description=select.description,
    )
    def made(platform: Platform) -> dg.MaterializeResult:
        plot = partial(chart, platform.lake, platform.programme)
        return report(platform.lake, build(platform.lake, select), plots={"chart": plot})

    return made


CHARTS = {
    "mart__loyalty_liability": charts.liability,
    "mart__loyalty_measures": charts.measures,
    "mart__loyalty_rewards": charts.rewards,
}


@dg.definitions
def defs() -> dg.Definitions:
    """Targets, entries and balances."""
    return dg.Definitions(
        assets=[
            core__loyalty_targets,
            core__ledger_entries,
            ops__loyalty_reconciliation,
            core__ledger_lots,
            core__ledger_draws,
            core__loyalty_terms,
            core__loyalty_rewards,
            core__customer_tiers,
            mart__redemption_curve,
            *(_charted(table, chart) for table, chart in CHARTS.items()),
            *(sql_asset(GROUP, t) for t in sql_tables(GROUP) if t not in CHARTS),
        ]
    )
