"""What is wrong now, as Dagster's instance and the last run know it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.alive import last_run
from assets.automation import JOB, NIGHTLY, SENSOR
from cdp.alerts.rules import AlertRule, Alerts, Message, Wrong, due
from cdp.alerts.send import send, send_by, ways
from cdp.clock import system_now
from cdp.settings import Settings
from cdp.store import alerts as kept
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace

EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


def failed_checks(instance: dg.DagsterInstance, rule: AlertRule, keys: Iterable[dg.AssetCheckKey]) -> list[Wrong]:
    """Checks whose last evaluation failed; one that a run has only planned is not evaluated yet."""
    wanted = [key for key in keys if not rule.checks or f"{key.asset_key.to_user_string()}.{key.name}" in rule.checks]
    storage = instance.event_log_storage
    found = dict(storage.get_latest_asset_check_execution_by_key(wanted))
    for key in [key for key, record in found.items() if record.status is AssetCheckExecutionRecordStatus.PLANNED]:
        evaluated = storage.get_asset_check_execution_history(key, limit=1, status=EVALUATED)
        if evaluated:
            found[key] = evaluated[0]
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
    wrong = []
    for job in sorted(jobs):
        last = last_run(instance, job, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
        if last is not None and last[0].status is dg.DagsterRunStatus.FAILURE:
            run, at = last[0].run_id[:8], last[1]
            wrong.append(
                Wrong(rule.name, job, f"Run {run} failed: what it committed is kept; mend the cause and run again.", at)
            )
    return wrong


def late_runs(instance: dg.DagsterInstance, rule: AlertRule, now: datetime) -> list[Wrong]:
    """The pipeline, where its last run that succeeded ended too long ago; one that never ran is not late."""
    last = last_run(instance, JOB, dg.DagsterRunStatus.SUCCESS)
    if last is None or rule.hours is None:
        return []
    ended, due_at = last[1], last[1] + timedelta(hours=rule.hours)
    said = f"No run has succeeded since {ended:%Y-%m-%d %H:%M} UTC: see whether sensor '{SENSOR}' and schedule '{NIGHTLY}' are on, what waits in the queue, and run 'cdp run'."
    return [Wrong(rule.name, JOB, said, due_at)] if now > due_at else []


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
    """Tell what is due, and keep that it was told. What could not be sent by a way is sent by that way at the next look."""
    now = system_now()
    keys, jobs = list(keys), list(jobs)
    with database(workspace), connect(owner_address(workspace)) as store:
        wrong = wrong_figures((rule for rule in alerts.rules if rule.is_kpi), kept.noted(store))
        for rule in alerts.rules:
            if rule.when == "check_failed":
                wrong += failed_checks(instance, rule, keys)
            elif rule.when == "run_failed":
                wrong += failed_runs(instance, rule, jobs)
            elif rule.when == "late":
                wrong += late_runs(instance, rule, now)
        failed = _send_again(store, alerts, now)
        messages = due(wrong, kept.still_open(store), now, timedelta(hours=alerts.repeat_hours))
        missed, sent = send(messages, alerts, Settings(), log.warning) if messages else ({}, [])
        if failed | missed:
            named = ", ".join(f"{way} ({why})" for way, why in (failed | missed).items())
            log.error(f"alerts could not be sent by {named}: tried again at the next look")
        if missed and not sent and not alerts.to.log:
            return []  # nobody was told
        kept.keep(store, messages, now, list(missed))
    return messages


def _send_again(store: psycopg.Connection, alerts: Alerts, now: datetime) -> dict[str, str]:
    """Send what a way has missed so far; why, by way that is still closed."""
    failed: dict[str, str] = {}
    settings = Settings()
    for way in ways(alerts, settings):
        missed = kept.unsent(store, way, now)
        if missed and (why := send_by(way, [message for _, message in missed], alerts, settings)):
            failed[way] = why
        elif missed:
            kept.sent(store, way, [number for number, _ in missed])
    return failed
