"""Alerts: figures that rules look at, and the sensor that tells people."""

import dagster as dg
import duckdb

from assets.checking import check
from assets.platform import Platform
from assets.reporting import OWNERS, costed
from cdp.alerts.rules import AlertRule, load_alerts
from cdp.checks import Finding
from cdp.clock import system_now
from cdp.errors import CdpError
from cdp.lake import register
from cdp.lake.build import find_inputs
from cdp.lake.tables import shapes
from cdp.settings import Settings
from cdp.store import alerts as kept
from cdp.store import releases
from cdp.workspace import open_workspace


@dg.asset(group_name="publish", deps=["ops__release"], kinds={"postgres", "duckdb", "yaml"}, owners=OWNERS)
@costed()
def ops__kpis(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: rule of alerts.yaml that looks at a figure. Its value as of this run."""
    rules, figures, unread = asked(platform)
    for name, why in unread.items():
        context.log.warning(f"alerts.yaml: {name} cannot be asked: {why}")
    kept.note(platform.store, figures, system_now(), list(unread))  # delays are told in real time, whatever the run's
    count, middle, longest = kept.delays(platform.store, system_now())
    told = {
        "alerts told in 30 days": count,
        "seconds until told, median": middle,
        "seconds until told, longest": longest,
    }
    broken = [rule.name for rule in rules if rule.name in figures and rule.breaks(figures[rule.name])]
    return dg.MaterializeResult(metadata={**{n: v or 0.0 for n, v in figures.items()}, **{k: v for k, v in told.items() if v is not None}, "broken": broken, "cannot be asked": unread})  # fmt: skip


def asked(platform: Platform) -> tuple[list[AlertRule], dict[str, float | None], dict[str, str]]:
    """The rules that look at a figure, the figures, and why the others have none."""
    rules = [rule for rule in load_alerts(platform.workspace).rules if rule.is_kpi]
    figures: dict[str, float | None] = {}
    unread: dict[str, str] = {}
    for rule in rules:  # one that cannot be asked must not take the others, or the run, with it
        try:
            register.require(platform.lake, set(find_inputs(rule.when)) & shapes().keys())
            value = platform.lake.remembered(rule.when)  # by the asset, and by its check
            figures[rule.name] = None if not value or value[0][0] is None else float(value[0][0])
        except (duckdb.Error, CdpError, TypeError, ValueError) as error:
            unread[rule.name] = str(error).splitlines()[0]
    return rules, figures, unread


def askable(platform: Platform) -> Finding:
    """Rules of alerts.yaml that no figure can be had for: what they watched is watched by nobody."""
    if not releases.newest(platform.store, 1):
        return Finding(ok=True, facts={"judged": "after the first run"})
    rules, _, unread = asked(platform)
    return Finding(not unread, {"rules": len(rules)}, [{"rule": name, "why": why} for name, why in unread.items()])


@dg.sensor(minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING, target=None)
def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Tells people of failed runs, failed checks and broken figures, as alerts.yaml says: once, again while it lasts, and when it is over."""
    from assets.alerting import watch
    from assets.alive import bury_dead_runs

    workspace = open_workspace(Settings())
    bury_dead_runs(context.instance)  # also where the sensor of files is switched off
    repository = context.repository_def
    keys = repository.asset_graph.asset_check_keys if repository else ()
    jobs = [job.name for job in repository.get_all_jobs()] if repository else []
    told = watch(workspace, context.instance, load_alerts(workspace), keys, jobs, context.log)
    return dg.SkipReason(f"{len(told)} messages sent" if told else "nothing new to tell")


@dg.definitions
def defs() -> dg.Definitions:
    """The asset and the sensor."""
    can = check("ops__kpis", "rules_can_be_asked", "Every rule of alerts.yaml that looks at a figure gets one.",
                "mend the select of the rule in alerts.yaml ('cdp sql' tries it); until then its alert stays as it was", askable)  # fmt: skip
    return dg.Definitions(assets=[ops__kpis], asset_checks=[can], sensors=[alerts])
