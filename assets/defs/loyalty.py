"""Loyalty: what orders should have posted, what the ledger holds."""

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, report
from assets.sql_assets import sql_asset
from cdp.lake.build import sql_tables
from cdp.loyalty import history, reconcile, referrals, settle, targets
from cdp.store import books, idempotency

GROUP = "loyalty"


@dg.asset(group_name=GROUP, deps=list(targets.INPUTS), kinds={"python", "duckdb"}, owners=OWNERS)
def core__loyalty_targets(platform: Platform) -> dg.MaterializeResult:
    """Grain: order or event × unit × what it posts. What each should have posted, or the stated reason for none."""
    bound = books.bound(platform.store, platform.programme.programme) if platform.programme.remembers else {}
    return report(platform.lake, targets.build_targets(platform.lake, platform.programme, bound))


@dg.asset(
    group_name=GROUP,
    deps=["core__loyalty_targets", "ops__published"],
    kinds={"postgres", "duckdb"},
    owners=OWNERS,
)
def core__ledger_entries(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: ledger entry. Posts what orders owe, then reads the ledger back: the store is its authority."""
    written = settle.settle(platform.lake, platform.store, platform.programme, platform.now, context.log.info)
    rewarded, claims = referrals.settle(platform.store, platform.programme, platform.now)
    written += rewarded + reconcile.expire(platform.store, platform.programme, platform.now)
    built = history.build_entries(platform.lake, platform.store)
    return report(
        platform.lake, built, extra={"entries written": written, **{f"referrals {k}": n for k, n in sorted(claims.items())}}
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
    found = reconcile.mend(platform.store, platform.programme, platform.now, context.log.warning)
    built, rows = reconcile.build_reconciliation(platform.lake, found)
    check = dg.AssetCheckResult(
        passed=all(well for _, _, well in rows),
        check_name="books_add_up",
        metadata={measure: count for measure, count, _ in rows},
    )
    return report(platform.lake, built, check_results=[check])


@dg.definitions
def defs() -> dg.Definitions:
    """Targets, entries and balances."""
    return dg.Definitions(
        assets=[
            core__loyalty_targets,
            core__ledger_entries,
            ops__loyalty_reconciliation,
            *(sql_asset(GROUP, t) for t in sql_tables(GROUP)),
        ]
    )
