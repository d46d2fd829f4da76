"""The code location: everything under `defs/`, one resource, one job."""

from pathlib import Path

import dagster as dg

from assets.platform import Platform
from assets.progress import progress

JOB = "cdp_run"


@dg.definitions
def defs() -> dg.Definitions:
    """The whole graph. Steps run in one process: a process for each would cost 5 to 10 s a step."""
    job = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.all(),
        description="The whole pipeline over what is new; the same job that `cdp run` runs.",
        executor_def=dg.in_process_executor,
        config=dg.RunConfig(loggers={"progress": {}}),
    )
    nightly = dg.ScheduleDefinition(
        name="nightly", job=job, cron_schedule="30 2 * * *", default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Erasures and retention are carried out at least once a day, whether or not anything new came.",
    )  # fmt: skip
    shared = dg.Definitions(
        jobs=[job],
        schedules=[nightly],
        resources={"platform": Platform()},
        executor=dg.in_process_executor,
        loggers={"progress": progress},
    )
    return dg.Definitions.merge(dg.load_from_defs_folder(path_within_project=Path(__file__).parent), shared)
