"""What is wrong now, as Dagster's instance and the last run know it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from cdp.alerts.rules import AlertRule, Alerts, Message, Wrong, due
from cdp.alerts.send import send
from cdp.clock import system_now
from cdp.settings import Settings
from cdp.store import alerts as kept
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace


def failed_checks(instance: dg.DagsterInstance, rule: AlertRule, keys: Iterable[dg.AssetCheckKey]) -> list[Wrong]:
    """Checks whose last evaluation failed."""
    wanted = [key for key in keys if not rule.checks or f"{key.asset_key.to_user_string()}.{key.name}" in rule.checks]
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(wanted)
    wrong = []
    for key, record in sorted(found.items(), key=lambda item: (item[0].asset_key.to_user_string(), item[0].name)):
        if record.status is AssetCheckExecutionRecordStatus.FAILED and record.event is not None:
            said = record.event.dagster_event.event_specific_data.metadata if record.event.dagster_event else {}
            hint = said["what to do"].value if "what to do" in said else "look at the check in the Dagster UI"
            at = datetime.fromtimestamp(record.event.timestamp, UTC)
            wrong.append(Wrong(rule.name, f"{key.asset_key.to_user_string()}.{key.name}", f"What to do: {hint}", at))
    return wrong


def failed_runs(instance: dg.DagsterInstance, rule: AlertRule, jobs: Iterable[str]) -> list[Wrong]:
    """Jobs whose last finished run failed."""
    over = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    wrong = []
    for job in sorted(jobs):
        last = next(iter(instance.get_run_records(dg.RunsFilter(job_name=job, statuses=over), limit=1)), None)
        if last is not None and last.dagster_run.status is dg.DagsterRunStatus.FAILURE:
            at = datetime.fromtimestamp(last.end_time or last.update_timestamp.timestamp(), UTC)
            run = last.dagster_run.run_id[:8]
            wrong.append(
                Wrong(rule.name, job, f"Run {run} failed: what it committed is kept; mend the cause and run again.", at)
            )
    return wrong


def wrong_figures(rules: Iterable[AlertRule], noted: dict[str, tuple[float | None, datetime]]) -> list[Wrong]:
    """Figures of the last run that broke their rule."""
    wrong = []
    for rule in rules:
        value, at = noted.get(rule.name, (None, None))
        if value is not None and at is not None and rule.breaks(value):
            limit = (
                f"above {rule.above:g}" if rule.above is not None and value > rule.above else f"below {rule.below:g}"
            )
            wrong.append(Wrong(rule.name, "figure", f"It is {value:,.10g}, {limit}.", at))
    return wrong


def watch(workspace: Workspace, instance: dg.DagsterInstance, alerts: Alerts, keys: Iterable[dg.AssetCheckKey], jobs: Iterable[str], log) -> list[Message]:  # type: ignore[no-untyped-def] # fmt: skip
    """Tell what is due, and keep that it was told. What could not be sent is told again at the next look."""
    now = system_now()
    keys, jobs = list(keys), list(jobs)
    with database(workspace), connect(owner_address(workspace)) as store:
        wrong = wrong_figures((rule for rule in alerts.rules if rule.is_kpi), kept.noted(store))
        for rule in alerts.rules:
            if rule.when == "check_failed":
                wrong += failed_checks(instance, rule, keys)
            elif rule.when == "run_failed":
                wrong += failed_runs(instance, rule, jobs)
        messages = due(wrong, kept.still_open(store), now, timedelta(hours=alerts.repeat_hours))
        failed, sent = send(messages, alerts, Settings(), log.warning) if messages else ([], [])
        if failed:
            log.error(f"alerts could not be sent by {', '.join(failed)}")
        if failed and not sent:
            return []  # nobody was told: tried again at the next look
        kept.keep(store, messages, now)
    return messages
