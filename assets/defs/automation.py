"""What starts runs: files that land, the night, and tables that were made anew by themselves."""

import dagster as dg

from assets.automation import CHECKS_JOB, JOB, NIGHTLY, SENSOR
from cdp.clock import system_now
from cdp.settings import Settings
from cdp.workspace import open_workspace


@dg.sensor(name=SENSOR, job_name=JOB, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Looks every half minute for files and sent events that no run has read; gathers them, and asks for one run."""
    from assets.arrivals import look

    return look(open_workspace(Settings()), context.instance, system_now())


@dg.definitions
def defs() -> dg.Definitions:
    """Sensors and schedules."""
    following = dg.AutomationConditionSensorDefinition(
        "what_follows", target=dg.AssetSelection.all() - dg.AssetSelection.groups("ingest"), minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tables whose inputs were made anew without them (a backfill, one asset by hand) are made again.",
    )  # fmt: skip
    nightly = dg.ScheduleDefinition(
        name=NIGHTLY, job_name=JOB, cron_schedule="30 2 * * *", default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Erasures, retention and the expiry of points are carried out every night, whether or not anything new came.",
    )  # fmt: skip
    reconciliation = dg.ScheduleDefinition(
        name="reconciliation", job_name=CHECKS_JOB, cron_schedule="0 4 * * *", default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every check over what is stored: files, identity, consent and ledger add up.",
    )  # fmt: skip
    return dg.Definitions(sensors=[landing, following], schedules=[nightly, reconciliation])
