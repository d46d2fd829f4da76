"""Privacy: erasures and retention before anything is read, and what the log says of requests and disclosures."""

import dagster as dg

from assets.checking import check
from assets.platform import Platform
from assets.reporting import OWNERS, costed, report
from cdp import inbox
from cdp.checks import Finding
from cdp.privacy import erase, guard, retention, transparency
from cdp.privacy.erase import Job
from cdp.retention import load_retention
from cdp.store import releases


@dg.asset(group_name="ingest", kinds={"duckdb", "postgres"}, owners=OWNERS)
@costed()
def ops__erasures(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: run. Erasures whose identity is proven are carried out before anything is read: the rest of the run makes anew.

    What channels sent is handed to landing files first, so that nothing waits where an erasure does not look.
    """
    inbox.drain(platform.store, platform.landing, platform.sources, platform.now, context.log.info)
    return dg.MaterializeResult(metadata={"customers erased": erase.carry_out(_job(context, platform))})


@dg.asset(group_name="ingest", deps=["ops__erasures"], kinds={"duckdb", "postgres", "yaml"}, owners=OWNERS)
@costed()
def ops__retention(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: run. What is older than retention.yaml allows leaves landing files, lake and store."""
    ended = retention.enforce(_job(context, platform), load_retention(platform.workspace))
    return dg.MaterializeResult(metadata={"rows": ended.rows, "payloads": ended.payloads, "changes": ended.changes})


@dg.asset(group_name="publish", deps=["ops__purged"], kinds={"postgres", "duckdb"}, owners=OWNERS)
def mart__transparency(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: month × measure. Privacy requests, deadlines kept, disclosures and reveals, by the sealed audit log."""
    built, shown = transparency.build_transparency(platform.lake, platform.store, platform.workspace, platform.now)
    # it counts what ended by the release before it; readers of that are to see it too
    if built.changed and not releases.move(platform.store, context.run_id, platform.lake.snapshot()):
        platform.leave_undone()
    return report(platform.lake, built, extra={"report": dg.MetadataValue.md(shown)})


def away(platform: Platform) -> Finding:
    """Records that are about to be clustered although they are an erased person's."""
    found = guard.came_back(platform.lake, platform.workspace)
    return Finding(not found, {"records": found})


suppressed_people_stay_away = check(
    "core__contact_records", "suppressed_people_stay_away", "No record that is about to be clustered is an erased person's.",
    "report it; nothing was published", away, blocking=True, reads=["core__record_identifiers"],
)  # fmt: skip


def _job(context: dg.AssetExecutionContext, platform: Platform) -> Job:
    return Job(platform.workspace, platform.lake, platform.store, platform.sources, platform.now, context.log.info)
