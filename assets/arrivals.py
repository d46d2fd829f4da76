"""The landing sensor: registers what arrived, and asks for one run over it."""

from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, AUTOMATION_CONDITION_TAG, WILL_RETRY_TAG

from assets.alive import BEGUN, bury_dead_runs, last_run
from assets.automation import JOB
from assets.landing import DAYS
from cdp.arrivals import Arrived, why_not
from cdp.clock import system_now
from cdp.sources.landing import seen
from cdp.sources.load import load_sources
from cdp.store import inbox, landed
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace
from identity import artefact

ARRIVAL = "cdp/arrival"
REPEATED = timedelta(minutes=5)  # in which the daemon repeats a run that died


def look(workspace: Workspace, instance: dg.DagsterInstance, now: datetime) -> dg.SensorResult:
    """What has arrived, and a run for it where one is due; the days of new files are partitions from now on."""
    with database(workspace), connect(owner_address(workspace)) as store:
        there = seen(workspace.path("landing"), load_sources(workspace))
        new = landed.register(store, there, now)
        unread = set(landed.unread(store))
        arrived = Arrived(
            [state for state in there if state in unread],
            *inbox.pending(store),
            artefact.unused(workspace.path("models")),
        )
    bury_dead_runs(instance)
    if not (arrived.files or arrived.events or arrived.model):
        arrived = replace(arrived, unfinished=unfinished(instance))
    running = is_going(instance)
    before = instance.get_runs(dg.RunsFilter(tags={ARRIVAL: arrived.key}))
    failed = sum(run.status is dg.DagsterRunStatus.FAILURE for run in before)
    reason = why_not(arrived, now, running=running, failed=failed)
    # this sensor itself looks again after a failure; Dagster's own retry beside it would be a second run
    tags = {ARRIVAL: arrived.key, "dagster/max_retries": "0"}
    request = dg.RunRequest(run_key=f"{arrived.key}:{len(before)}", tags=tags)
    return dg.SensorResult(
        run_requests=[] if reason else [request],
        skip_reason=reason or None,
        dynamic_partitions_requests=[DAYS.build_add_request([f"{day}" for day in sorted(new)])] if new else [],
    )


def is_going(instance: dg.DagsterInstance) -> bool:
    """Whether a run waits or works, or Dagster is about to repeat one that died.

    Tables that follow by themselves are none: they come layer after layer, a tick each, and would hold back for minutes what
    arrived. A run queues behind the layer that is under way, and makes the rest.
    """
    there = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, *BEGUN]))
    if any(AUTOMATION_CONDITION_TAG not in run.tags for run in there):
        return True
    last = last_run(instance, None, dg.DagsterRunStatus.FAILURE)
    if last is None or last[0].tags.get(WILL_RETRY_TAG) != "true" or AUTO_RETRY_RUN_ID_TAG in last[0].tags:
        return False
    return system_now() - last[1] < REPEATED  # where nobody repeats it, this sensor does


def unfinished(instance: dg.DagsterInstance) -> str:
    """The last run of the whole job that ended well, where the newest one failed; empty where that ended well or was cancelled.

    `what_follows` does not see all of it: what was made anew and then changed again between two of its looks counts as done.
    """
    ended = last_run(
        instance, JOB, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED
    )
    if ended is None or ended[0].status is not dg.DagsterRunStatus.FAILURE:
        return ""
    well = last_run(instance, JOB, dg.DagsterRunStatus.SUCCESS)
    return well[0].run_id if well else "none"
