"""Alerts: figures that rules look at, and the sensor that tells people."""

import dagster as dg
import duckdb

from assets.platform import Platform
from assets.reporting import OWNERS
from cdp.alerts.rules import load_alerts
from cdp.settings import Settings
from cdp.store import alerts as kept
from cdp.workspace import open_workspace


@dg.asset(group_name="publish", deps=["ops__release"], kinds={"postgres", "duckdb", "yaml"}, owners=OWNERS)
def ops__kpis(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: rule of alerts.yaml that looks at a figure. Its value as of this run."""
    rules = [rule for rule in load_alerts(platform.workspace).rules if rule.is_kpi]
    figures, unread = {}, {}
    for rule in rules:  # one that cannot be asked must not take the others, or the run, with it
        try:
            figures[rule.name] = platform.lake.scalar(rule.when)
        except duckdb.Error as error:
            unread[rule.name] = str(error).splitlines()[0]
            context.log.warning(f"alerts.yaml: {rule.name} cannot be asked: {unread[rule.name]}")
    kept.note(
        platform.store, {name: None if value is None else float(value) for name, value in figures.items()}, platform.now
    )
    count, middle, longest = kept.delays(platform.store)
    told = {
        "alerts told in 30 days": count,
        "seconds until told, median": middle,
        "seconds until told, longest": longest,
    }
    broken = [rule.name for rule in rules if rule.name in figures and rule.breaks(figures[rule.name])]
    return dg.MaterializeResult(metadata={**{n: float(v or 0) for n, v in figures.items()}, **{k: v for k, v in told.items() if v is not None}, "broken": broken, "cannot be asked": unread})  # fmt: skip


@dg.sensor(minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING, target=None)
def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Tells people of failed runs, failed checks and broken figures, as alerts.yaml says: once, again while it lasts, and when it is over."""
    from assets.alerting import watch

    workspace = open_workspace(Settings())
    repository = context.repository_def
    keys = repository.asset_graph.asset_check_keys if repository else ()
    jobs = [job.name for job in repository.get_all_jobs()] if repository else []
    told = watch(workspace, context.instance, load_alerts(workspace), keys, jobs, context.log)
    return dg.SkipReason(f"{len(told)} messages sent" if told else "nothing new to tell")


@dg.definitions
def defs() -> dg.Definitions:
    """The asset and the sensor."""
    return dg.Definitions(assets=[ops__kpis], sensors=[alerts])
