"""Publish: bring the store to what the lake says, then release the snapshot."""

from typing import Any

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, costed
from cdp.clock import system_now
from cdp.insight.stage import measured
from cdp.lake import register
from cdp.lake.build import sql_file
from cdp.lake.maintain import expire, remove_orphans
from cdp.privacy import purge
from cdp.privacy.erase import Job
from cdp.publish import scores
from cdp.publish.publish import publish
from cdp.publish.tables import SERVED, STAGE
from cdp.store import changes, releases

# a release waits for these, and for everything that is measured
RELEASED = (
    "ops__published",
    "core__contact_records",  # what their blocking checks refuse is not released, whichever way it came
    "core__customer_consents",
    "core__loyalty_balances",
    "ops__loyalty_reconciliation",
    "mart__loyalty_liability",
    "mart__loyalty_measures",
    "mart__loyalty_rewards",
    "mart__redemption_curve",
    "ops__review_queue",
    "ops__scored",
)
INTO_STORE: dict[str, Any] = {"group_name": "publish", "kinds": {"postgres"}, "owners": OWNERS}


@costed("rows written")
def published(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: run. Rows of the served tables that differed and were written, by table, with their change-feed rows."""
    done = publish(platform.lake, platform.store, platform.now, platform.started_at, context.log.info)
    if done.left_alone:
        context.log.warning(f"{len(done.left_alone)} customers changed online meanwhile; the next run catches up")
        platform.leave_undone()
    metadata = {
        "rows written": done.written,
        "batches": done.batches,
        "left alone": done.left_alone,
        **done.rows,
    }
    return dg.MaterializeResult(metadata=metadata)


@costed("rows written")
def scored(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: run. Scores that differed and were written, for the customer view, audiences and the manager's page."""
    written = scores.publish_scores(platform.lake, platform.store, platform.now, context.log.info)
    return dg.MaterializeResult(metadata={"rows written": written})


@costed()
def released(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: run. The finished snapshot that readers pin; what no release needs any more is expired."""
    register.compact(platform.lake, served=register.REPLACED)
    snapshot = platform.lake.snapshot()
    releases.record(platform.store, context.run_id, snapshot, platform.now, system_now())
    kept = releases.newest(platform.store, platform.workspace.settings.keep_releases)
    expired = expire(platform.lake, [release.snapshot_id for release in kept])
    remove_orphans(platform.lake)  # what a killed run left; this run holds the queue, so nobody else is writing
    changes.sequence(platform.store)
    return dg.MaterializeResult(metadata={"snapshot": snapshot, "snapshots expired": expired})


@costed(logged=False)
def purged(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: run. What engines keep behind of erased people (snapshots, dead rows, logs) is removed, and their requests end."""
    job = Job(platform.workspace, platform.lake, platform.store, platform.sources, platform.now, context.log.info)
    return dg.MaterializeResult(metadata={"requests finished": purge.finish(job)})


@dg.definitions
def defs() -> dg.Definitions:
    """The four steps in their order; what they read is found in the selects, when Dagster loads and not at import."""
    served = sorted({table for served in SERVED for table in sql_file(STAGE, served.name).inputs})
    reads = {
        "ops__published": [*served, "core__record_customers", "core__consent_decisions", "core__customer_consents"],
        "ops__scored": ["ops__published", *scores.SCORES.select.inputs, *scores.TABLES],
        "ops__release": [*RELEASED, *measured()],
        "ops__purged": ["ops__release"],
    }
    steps = zip(reads.items(), (published, scored, released, purged), strict=True)
    return dg.Definitions(assets=[dg.asset(name=name, deps=deps, **INTO_STORE)(step) for (name, deps), step in steps])
