"""Which process a run lives in (a run whose process was killed would hold its place in the queue for ever), and how the last one ended."""

import socket
from datetime import UTC, datetime

import dagster as dg
import psutil

PROCESS = "cdp/process"
BEGUN = [
    dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING,
]  # fmt: skip


def here(run_id: str) -> dict[str, str]:
    """The tag of a run that lives in this process. It names the run, because a run that is executed again inherits tags."""
    me = psutil.Process()
    return {PROCESS: f"{run_id}|{me.pid}|{me.create_time():.2f}|{socket.gethostname()}"}


def bury_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs whose process was killed on this host as failed; returns how many."""
    dead = [run for run in instance.get_runs(dg.RunsFilter(statuses=BEGUN)) if _is_dead(run)]
    for run in dead:
        instance.report_run_failed(run, "its process was killed; the next run finishes the work")
    return len(dead)


def _is_dead(run: dg.DagsterRun) -> bool:
    named = run.tags.get(PROCESS, "").split("|")
    if len(named) != 4 or named[0] != run.run_id or named[3] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(named[1])).create_time() - float(named[2])) > 1
    except psutil.NoSuchProcess:
        return True


def last_run(
    instance: dg.DagsterInstance, job: str | None, *statuses: dg.DagsterRunStatus
) -> tuple[dg.DagsterRun, datetime] | None:
    """The last run of a job (of any, where none is named) that ended so, and when."""
    last = next(iter(instance.get_run_records(dg.RunsFilter(job_name=job, statuses=list(statuses)), limit=1)), None)
    return last and (last.dagster_run, datetime.fromtimestamp(last.end_time or last.update_timestamp.timestamp(), UTC))
