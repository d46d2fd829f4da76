"""Figures that cannot be asked, and messages that one way could not take."""

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import dagster as dg
import pytest

from assets.alerting import late_runs, watch
from assets.automation import JOB
from assets.defs.alerts import askable, asked
from assets.defs.checks import moved
from cdp.alerts.rules import AlertRule, Alerts, Message
from cdp.store import alerts as kept
from cdp.store import releases
from tests.conftest import NOW

RULES = """
version: "1"
rules:
  - {name: good, when: "select 7", above: 5}
  - {name: gone, when: "select count(*) from mart__no_such_table", above: 5}
  - {name: word, when: "select 'many'", above: 5}
"""


def test_a_rule_that_cannot_be_asked_takes_no_other_with_it_and_fails_a_check_that_says_what_to_do(platform):
    path = platform.workspace.path("alerts.yaml")
    before = path.read_text()
    path.write_text(RULES)
    rules, figures, unread = asked(platform)
    assert askable(platform).ok, "before the first run nothing is there to be asked"
    with platform.store.transaction(force_rollback=True):
        releases.record(platform.store, "first", 0, NOW, NOW)
        found = askable(platform)
        path.write_text(RULES.split("  - {name: gone")[0])
        assert askable(platform).ok
    path.write_text(before)
    assert ([rule.name for rule in rules], figures) == (["good", "gone", "word"], {"good": 7.0})
    assert set(unread) == {"gone", "word"}
    assert not found.ok
    assert [row["rule"] for row in found.rows] == ["gone", "word"]


def test_what_one_way_missed_is_sent_by_that_way_alone_at_the_next_look(platform, hook, mailbox, monkeypatch):
    said = []
    log = SimpleNamespace(warning=said.append, error=said.append)
    monkeypatch.setenv("CDP_HOME", str(platform.workspace.home))
    monkeypatch.setenv("CDP_ALERT_WEBHOOK", f"http://127.0.0.1:{hook.server_port}/x")
    monkeypatch.setenv("CDP_SMTP_URL", "smtp://127.0.0.1:1")
    alerts = Alerts(version="1", to={"email": ["ops@example.org"]})
    kept.keep(platform.store, [Message("r", "s", "It was so.", "new", NOW)], NOW)  # and is over now

    def look_again(instance):
        said.clear()
        return [(m.subject, m.kind) for m in watch(platform.workspace, instance, alerts, [], [], log)]

    with dg.DagsterInstance.ephemeral() as instance:
        assert look_again(instance) == [("s", "over")]
        assert any("e-mail (ConnectionRefusedError)" in line for line in said)
        assert look_again(instance) == []  # still closed: said in the log, told to nobody twice
        assert any("e-mail (ConnectionRefusedError)" in line for line in said)
        monkeypatch.setenv("CDP_SMTP_URL", f"smtp://127.0.0.1:{mailbox.server_address[1]}")
        assert look_again(instance) == []
        assert look_again(instance) == []
    assert len(hook.got) == 1
    assert sum("Subject: CDP: Well again: r: s" in line for line in mailbox.got) == 1


def test_while_every_way_is_closed_the_log_tells_once_and_they_get_it_when_they_open(platform, hook, monkeypatch):
    said = []
    log = SimpleNamespace(warning=said.append, error=lambda line: None)
    monkeypatch.setenv("CDP_HOME", str(platform.workspace.home))
    monkeypatch.setenv("CDP_ALERT_WEBHOOK", "http://127.0.0.1:1/x")
    kept.keep(platform.store, [Message("r2", "s2", "It was so.", "new", NOW)], NOW)
    before = len(hook.got)

    def look_again(instance):
        return [(m.subject, m.kind) for m in watch(platform.workspace, instance, Alerts(version="1"), [], [], log)]

    with dg.DagsterInstance.ephemeral() as instance:
        assert look_again(instance) == [("s2", "over")]
        assert look_again(instance) == []
        assert len([line for line in said if "s2" in line]) == 1
        monkeypatch.setenv("CDP_ALERT_WEBHOOK", f"http://127.0.0.1:{hook.server_port}/x")
        assert look_again(instance) == []
    assert len(hook.got) == before + 1


def test_a_pipeline_whose_last_good_run_ended_too_long_ago_is_late_and_one_that_never_ran_is_not():
    rule = AlertRule(name="no run", when="late", hours=30)
    with dg.DagsterInstance.ephemeral() as instance:
        now = datetime.now(UTC)
        assert late_runs(instance, rule, now + timedelta(days=9)) == []
        instance.add_run(dg.DagsterRun(job_name=JOB, run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.SUCCESS))
        instance.add_run(dg.DagsterRun(job_name=JOB, run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.FAILURE))
        instance.add_run(dg.DagsterRun(job_name="other", run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.SUCCESS))
        assert late_runs(instance, rule, now + timedelta(hours=29)) == []
        (found,) = late_runs(instance, rule, now + timedelta(hours=31))
        assert (found.subject, "cdp run" in found.text) == (JOB, True)
        assert timedelta(hours=29) < found.since - now < timedelta(hours=31)


@pytest.mark.parametrize("released", [False, True])
def test_records_that_a_run_moved_are_judged_the_same_before_its_release_and_at_night(platform, released):
    with platform.store.transaction(force_rollback=True):
        store = platform.store
        releases.record(store, "first", 0, NOW - timedelta(days=1), NOW)
        store.execute("insert into customers (customer_id, created_at) select gen_random_uuid(), %s from generate_series(1, 2)", [NOW])  # fmt: skip
        store.execute("insert into assignment (record_id, customer_id, position) select 'x:y:z', min(customer_id::text)::uuid, 1 from customers")  # fmt: skip
        store.execute(
            "insert into assignment_history (record_id, previous_customer_id, customer_id, at, run_id, reason) "
            "select 'x:y:z', max(customer_id::text)::uuid, min(customer_id::text)::uuid, %s, 'second', 'moved' from customers", [NOW]
        )  # fmt: skip
        if released:
            releases.record(store, "second", platform.lake.snapshot(), NOW, NOW)
        found = moved(SimpleNamespace(store=store, lake=platform.lake, now=NOW + timedelta(hours=16)))
    assert not found.ok
