"""What starts runs: files and events that landed, promoted models, tables made anew by themselves; and what never runs twice."""

import json
import os
import time
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, StepMaterializationData
from dagster._core.storage.tags import AUTOMATION_CONDITION_TAG

from assets import arrivals, platform
from assets.alerting import watch
from assets.alive import PROCESS
from assets.arrivals import ARRIVAL, look
from assets.automation import CHECKS_JOB, JOB
from assets.definitions import defs
from assets.launch import prepare_home
from cdp.alerts.rules import load_alerts
from cdp.lake.engine import open_lake
from cdp.store import inbox
from cdp.store.connect import connect, owner_address
from identity import artefact
from tests.conftest import cdp

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def definitions():
    return defs()


@pytest.fixture(scope="module")
def landing(new_workspace):
    """A workspace, and its Dagster instance."""
    workspace = new_workspace()
    before = {name: os.environ.get(name) for name in ("CDP_HOME", "DAGSTER_HOME")}
    os.environ["CDP_HOME"] = str(workspace.home)
    os.environ["DAGSTER_HOME"] = str(prepare_home(workspace.path("dagster")))
    with dg.DagsterInstance.get() as instance:
        yield workspace, instance
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def event(number, day=0):
    at = (T0 + day * DAY).isoformat()
    return (
        json.dumps({"messageId": f"m{number}", "type": "page", "anonymousId": f"b{number % 7}", "timestamp": at}) + "\n"
    )


def why(workspace, instance, now):
    """Why no run is asked for."""
    found = look(workspace, instance, now)
    assert not found.run_requests
    return found.skip_reason.skip_message


def put(workspace, name, text):
    path = workspace.path("landing", "web", name)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (T0.timestamp(), T0.timestamp()))


def test_the_sensor_asks_for_one_run_over_what_landed_and_for_none_over_nothing(landing):
    workspace, instance = landing
    now = T0 + timedelta(minutes=10)
    assert why(workspace, instance, now) == "nothing new"
    put(workspace, "a.jsonl", event(1))
    first, again = look(workspace, instance, now), look(workspace, instance, now + timedelta(minutes=1))
    assert [r.run_key for r in first.run_requests] == [r.run_key for r in again.run_requests]
    assert first.dynamic_partitions_requests[0].partition_keys == ["2026-03-01"]
    assert not again.dynamic_partitions_requests
    cdp(workspace, "run", "--as-of", now.isoformat())
    assert why(workspace, instance, now) == "nothing new"
    assert instance.get_materialized_partitions(dg.AssetKey("raw_web__events")) == {"2026-03-01"}


@pytest.mark.long
def test_what_channels_sent_is_a_reason_for_a_run_after_a_minute(landing):
    workspace, instance = landing
    with connect(owner_address(workspace)) as store:
        inbox.add(store, "web", [("m2", event(2).strip())], T0)
    assert "wait a minute" in why(workspace, instance, T0 + timedelta(seconds=20))
    assert len(look(workspace, instance, T0 + timedelta(minutes=2)).run_requests) == 1
    cdp(workspace, "run", "--as-of", (T0 + DAY).isoformat())
    assert why(workspace, instance, T0 + DAY) == "nothing new"


@pytest.mark.long
def test_a_run_under_way_starts_no_other_and_one_that_was_killed_blocks_none(landing, definitions, monkeypatch):
    workspace, instance = landing
    now = T0 + 2 * DAY
    put(workspace, "b.jsonl", event(3))
    run = instance.create_run_for_job(definitions.resolve_job_def(JOB))
    assert "under way" in why(workspace, instance, now)
    instance.add_run_tags(run.run_id, {PROCESS: f"{run.run_id}|999999|1.00|{os.uname().nodename}"})
    assert "under way" in why(workspace, instance, now), "Dagster repeats it: one more would be a second run"
    dead = instance.get_run_by_id(run.run_id)
    assert (dead.status, dead.tags["dagster/will_retry"]) == (dg.DagsterRunStatus.FAILURE, "true")
    monkeypatch.setattr(arrivals, "REPEATED", timedelta(0))
    (request,) = look(workspace, instance, now).run_requests  # where nobody repeats it
    assert request.tags["dagster/max_retries"] == "0"
    monkeypatch.undo()
    repeated = instance.create_run_for_job(definitions.resolve_job_def(JOB), tags={"dagster/max_retries": "0"})
    instance.add_run_tags(run.run_id, {"dagster/auto_retry_run_id": repeated.run_id})
    assert "under way" in why(workspace, instance, now)
    instance.report_run_failed(repeated, "for the test")
    assert len(look(workspace, instance, now).run_requests) == 1


@pytest.mark.long
def test_tables_that_follow_by_themselves_hold_no_arrival_back(landing, definitions):
    """After a run that died they came layer by layer, each a moment before the sensor looked: it asked five minutes late."""
    workspace, instance = landing
    tags = {AUTOMATION_CONDITION_TAG: "true"}
    following = instance.create_run_for_job(definitions.resolve_implicit_global_asset_job_def(), tags=tags)
    assert len(look(workspace, instance, T0 + 2 * DAY).run_requests) == 1
    instance.delete_run(following.run_id)


@pytest.mark.long
def test_an_arrival_whose_runs_fail_is_tried_again_and_then_left_to_people(landing, definitions):
    workspace, instance = landing
    keys = []
    for _ in range(3):
        (request,) = look(workspace, instance, T0 + 2 * DAY).run_requests
        keys.append(request.run_key)
        run = instance.create_run_for_job(definitions.resolve_job_def(JOB), tags=request.tags)
        instance.report_run_failed(run, "for the test")
    assert len(set(keys)) == 3
    assert "3 runs over this arrival failed" in why(workspace, instance, T0 + 2 * DAY)
    put(workspace, "c.jsonl", event(4))
    assert len(look(workspace, instance, T0 + 2 * DAY).run_requests) == 1, "another arrival is another matter"
    cdp(workspace, "run", "--as-of", (T0 + 2 * DAY).isoformat())


@pytest.mark.long
def test_a_run_that_failed_after_it_had_read_everything_is_done_again(landing, definitions):
    """What arrived is read, so nothing is new; and what was to be made of it is not there."""
    workspace, instance = landing
    now = T0 + 3 * DAY
    assert why(workspace, instance, now) == "nothing new"
    job, tags, keys = definitions.resolve_job_def(JOB), {"dagster/max_retries": "0"}, set()
    for _ in range(4):
        instance.report_run_failed(instance.create_run_for_job(job, tags=tags), "for the test")
        if len(keys) < 3:
            (request,) = look(workspace, instance, now).run_requests
            keys.add(request.run_key)
            tags = request.tags
    assert len(keys) == 3
    assert "3 runs over this arrival failed" in why(workspace, instance, now)
    cdp(workspace, "run", "--as-of", now.isoformat())
    assert why(workspace, instance, now) == "nothing new"


@pytest.mark.long
def test_a_promoted_model_is_a_reason_for_a_run(landing):
    workspace, instance = landing
    folder = workspace.path("models")
    folder.mkdir(exist_ok=True)
    folder.joinpath("current").write_text("new")
    artefact.note_used(folder, "old")
    assert look(workspace, instance, T0 + 3 * DAY).run_requests[0].tags[ARRIVAL]
    artefact.note_used(folder, "new")
    assert why(workspace, instance, T0 + 3 * DAY) == "nothing new"
    folder.joinpath("current").unlink()


@pytest.mark.long
def test_tables_follow_what_they_are_made_of_and_a_whole_run_is_not_followed(definitions):
    """Evaluated as the daemon does: after a run over everything nothing is asked for, after a backfill all that follows, once."""
    selection = dg.AssetSelection.all() - dg.AssetSelection.groups("ingest")
    keys = [spec.key for spec in definitions.resolve_all_asset_specs()]
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("landing_day", ["2026-03-01"])

        def asked(cursor=None):
            return dg.evaluate_automation_conditions(
                defs=definitions, instance=instance, asset_selection=selection, cursor=cursor
            )

        def ran(made, partition=None):
            run = instance.run_storage.add_run(dg.DagsterRun(job_name=JOB, run_id=str(uuid.uuid4())))
            for key in made:
                data = StepMaterializationData(dg.AssetMaterialization(key, partition=partition), [])
                instance.report_dagster_event(
                    DagsterEvent("ASSET_MATERIALIZATION", JOB, event_specific_data=data), run.run_id
                )

        found = asked()
        assert found.total_requested == 0
        ran(keys)
        found = asked(found.cursor)
        assert found.total_requested == 0
        ran([dg.AssetKey("raw_pos__sale_lines")], "2026-03-01")
        found = asked(found.cursor)
        assert found.get_num_requested(dg.AssetKey("core__order_rows")) == 1
        assert found.get_num_requested(dg.AssetKey("ops__published")) == 1
        assert found.get_num_requested(dg.AssetKey("raw_web__events")) == 0
        assert asked(found.cursor).total_requested == 0
        found = asked(found.cursor)
        going = instance.run_storage.add_run(dg.DagsterRun(job_name=JOB, run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED))
        for key in ("core__customers", "core__orders"):
            planned = AssetMaterializationPlannedData(dg.AssetKey(key))
            instance.report_dagster_event(DagsterEvent("ASSET_MATERIALIZATION_PLANNED", JOB, event_specific_data=planned), going.run_id)
        ran_now = StepMaterializationData(dg.AssetMaterialization("core__customers"), [])
        instance.report_dagster_event(DagsterEvent("ASSET_MATERIALIZATION", JOB, event_specific_data=ran_now), going.run_id)
        found, both = asked(found.cursor), dg.AssetKey("core__loyalty_targets")
        assert found.get_num_requested(both) == 0, "what else it is made of is under way"
        instance.report_run_canceled(going)
        assert asked(found.cursor).get_num_requested(both) == 1


@pytest.mark.long
def test_what_follows_stops_where_a_blocking_check_failed_until_it_passes(definitions):
    """A run stops there, and so does the daemon: neither publishes nor releases what a check refuses."""
    selection = dg.AssetSelection.groups("publish")
    stopped = [dg.AssetKey("ops__published"), dg.AssetKey("ops__release")]
    consents = dg.AssetKey("core__customer_consents")
    with dg.instance_for_test() as instance:

        def asked(cursor=None):
            return dg.evaluate_automation_conditions(
                defs=definitions, instance=instance, asset_selection=selection, cursor=cursor
            )

        def made(key, passed=None):
            """In a run of its own, with what its check found."""
            run = instance.run_storage.add_run(dg.DagsterRun(job_name=JOB, run_id=str(uuid.uuid4())))
            told = [("ASSET_MATERIALIZATION", StepMaterializationData(dg.AssetMaterialization(key), []))]
            if passed is not None:
                judged = dg.AssetCheckEvaluation(key, "consents_hold", passed, metadata={}, blocking=True)
                told.append(("ASSET_CHECK_EVALUATION", judged))
            for kind, data in told:
                instance.report_dagster_event(DagsterEvent(kind, JOB, event_specific_data=data), run.run_id)

        for spec in definitions.resolve_all_asset_specs():
            made(spec.key)
        found = asked(asked().cursor)
        made(consents, passed=False)
        found = asked(found.cursor)
        assert [found.get_num_requested(key) for key in stopped] == [0, 0]
        made(dg.AssetKey("core__loyalty_balances"))  # what else a release rests on goes on
        found = asked(found.cursor)
        assert [found.get_num_requested(key) for key in stopped] == [0, 0]
        died = instance.run_storage.add_run(dg.DagsterRun(job_name=JOB, run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED))
        planned = AssetCheckEvaluationPlanned(asset_key=consents, check_name="consents_hold")
        instance.report_dagster_event(DagsterEvent("ASSET_CHECK_EVALUATION_PLANNED", JOB, event_specific_data=planned), died.run_id)
        instance.report_run_failed(died)
        made(dg.AssetKey("core__loyalty_balances"))
        found = asked(found.cursor)
        assert [found.get_num_requested(key) for key in stopped] == [0, 0], "a run that died before it looked again opens nothing"
        made(consents, passed=True)
        found = asked(found.cursor)
        assert [found.get_num_requested(key) for key in stopped] == [1, 1]


def raw_rows(workspace):
    with open_lake(workspace, read_only=True) as lake:
        return lake.rows("select * exclude (_run_id) from raw_web__events order by all")


@pytest.mark.long
def test_a_backfill_of_a_week_makes_the_lake_that_daily_runs_make_and_again_changes_nothing(
    new_workspace, definitions, monkeypatch
):
    """The same file names come on other days, so that the order of landing decides which of two rows stands."""
    week = [("z", 0), ("y", 1), ("x", 2), ("w", 3), ("v", 4), ("u", 5), ("t", 6)]
    daily, filled = new_workspace(), new_workspace()
    days = [f"{T0 + day * DAY:%Y-%m-%d}" for _, day in week]
    raw = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey("raw_web__events")})

    def run(workspace, now, tags):
        monkeypatch.setenv("CDP_HOME", str(workspace.home))
        monkeypatch.setenv("DAGSTER_HOME", str(prepare_home(workspace.path("dagster"))))
        config = {"resources": {"platform": {"config": {"as_of": now.isoformat()}}}}
        with dg.DagsterInstance.get() as instance:
            instance.add_dynamic_partitions("landing_day", days)
            assert raw.execute_in_process(instance=instance, tags=tags, run_config=config).success
            return instance.get_materialized_partitions(dg.AssetKey("raw_web__events")), raw_rows(workspace)

    for name, day in week:
        for workspace in (daily, filled):
            put(workspace, f"{name}.jsonl", event(day, day) + event(100, day))
            with dg.DagsterInstance.from_config(str(prepare_home(workspace.path("dagster")))) as instance:
                look(workspace, instance, T0 + day * DAY)  # registered on its day; in the one of them no run comes
        run(daily, T0 + day * DAY, {"dagster/partition": days[day]})
    ranged = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
    end = T0 + 7 * DAY
    assert len(run(filled, end, {"dagster/partition": days[2]})[1]) == 2, "one day reads that day alone"
    filled_days, found = run(filled, end, ranged)
    assert filled_days == set(days)
    assert run(filled, end, ranged)[1] == found
    assert len(found) == 8
    kept = new_workspace()  # in their order, in one run
    for name, day in week:
        put(kept, f"{name}.jsonl", event(day, day) + event(100, day))
        with dg.DagsterInstance.from_config(str(prepare_home(kept.path("dagster")))) as instance:
            look(kept, instance, T0 + day * DAY)
    assert run(kept, end, ranged)[1] == raw_rows(daily)


@pytest.mark.long
def test_alerts_fire_once_are_told_again_while_they_last_and_when_they_are_over(landing, definitions):
    workspace, instance = landing
    put(workspace, "damaged.jsonl", "{\n" * 5)
    cdp(workspace, "run", "--as-of", (T0 + 4 * DAY).isoformat())
    keys = definitions.resolve_asset_graph().asset_check_keys
    told = []

    class Log:
        warning = error = staticmethod(told.append)

    def look_again(alerts=load_alerts(workspace)):  # noqa: B008 - the file does not change
        told.clear()
        return watch(workspace, instance, alerts, keys, [JOB], Log)

    first = look_again()
    assert [(m.subject, m.kind) for m in first if "contract" in m.subject] == [("raw_web__events.contract", "new")]
    assert any("raw_web__events.contract" in line and "What to do" in line for line in told)
    assert look_again() == []
    often = load_alerts(workspace).model_copy(update={"repeat_hours": 1e-9})
    assert {m.kind for m in look_again(often)} == {"still"}
    waits = instance.create_run_for_job(definitions.resolve_job_def(JOB), status=dg.DagsterRunStatus.STARTED)
    planned = AssetCheckEvaluationPlanned(asset_key=dg.AssetKey("raw_web__events"), check_name="contract")
    instance.report_dagster_event(DagsterEvent("ASSET_CHECK_EVALUATION_PLANNED", JOB, event_specific_data=planned), waits.run_id)
    assert look_again() == [], "a check that a run has only planned is not well again"
    instance.delete_run(waits.run_id)
    put(workspace, "damaged.jsonl", event(50))
    cdp(workspace, "run", "--as-of", (T0 + 5 * DAY).isoformat())
    assert ("raw_web__events.contract", "over") in {(m.subject, m.kind) for m in look_again()}
    run = instance.create_run_for_job(definitions.resolve_job_def(JOB))
    instance.report_run_failed(run, "for the test")
    time.sleep(0.1)
    assert (JOB, "new") in {(m.subject, m.kind) for m in look_again()}
    with connect(owner_address(workspace)) as store:
        assert store.execute("select count(*) from alerts where first_sent_at >= since").fetchall()[0][0] >= 2


def test_schedules_run_the_night_and_the_checks(definitions):
    repository = definitions.get_repository_def()
    assert {(s.name, s.job_name, s.default_status.value, s.cron_schedule) for s in repository.schedule_defs} == {
        ("nightly", JOB, "RUNNING", "30 2 * * *"), ("reconciliation", CHECKS_JOB, "RUNNING", "0 4 * * *"),
    }  # fmt: skip
    assert {s.name for s in repository.sensor_defs} >= {"landing", "what_follows", "alerts"}


def test_the_job_of_checks_finds_nothing_wrong_where_nothing_was_built(new_workspace, definitions, monkeypatch):
    workspace = new_workspace()
    monkeypatch.setenv("CDP_HOME", str(workspace.home))
    monkeypatch.setenv("DAGSTER_HOME", str(prepare_home(workspace.path("dagster"))))
    monkeypatch.setattr(platform, "BEAT", 1e-3)
    with dg.DagsterInstance.get() as instance:
        done = definitions.resolve_job_def(CHECKS_JOB).execute_in_process(instance=instance)
        checked = done.get_asset_check_evaluations()
        assert len(checked) >= 10
        assert [c.check_name for c in checked if not c.passed] == []
        said = [entry.user_message for entry in instance.all_logs(done.run_id) if "still at it" in entry.user_message]
    named = {line.split(": still at it")[0] for line in said}
    assert named
    assert named <= {node.name for node in definitions.resolve_job_def(CHECKS_JOB).nodes}, "what is looked at is named"


def test_a_table_that_takes_long_says_so_while_it_is_made(monkeypatch):
    monkeypatch.setattr(platform, "BEAT", 0.02)
    lake, said = SimpleNamespace(at_work=None), []
    with platform.heartbeat(lake, said.append):
        time.sleep(0.1)
        assert said == [], "nothing is being made"
        lake.at_work = (time.monotonic() - 12, "core__clusters")
        time.sleep(0.5)
    assert len(said) > 1
    assert said[0] == "core__clusters: still at it, for 12 s"
    count = len(said)
    time.sleep(0.1)
    assert len(said) == count, "it ends with the run"


@pytest.mark.long
def test_the_job_of_checks_builds_nothing_and_finds_a_sound_town_sound(town, definitions, monkeypatch):
    monkeypatch.setenv("CDP_HOME", str(town.home))
    monkeypatch.setenv("DAGSTER_HOME", str(prepare_home(town.path("dagster"))))
    with dg.DagsterInstance.get() as instance, open_lake(town, read_only=True) as lake:
        before = lake.snapshot()
        done = definitions.resolve_job_def(CHECKS_JOB).execute_in_process(instance=instance)
        checked = done.get_asset_check_evaluations()
        assert {c.check_name for c in checked} >= {
            "consents_hold",
            "ledger_adds_up",
            "assignment_is_the_stores",
            "cluster_sizes",
        }
        assert [c.check_name for c in checked if not c.passed] == []
        assert lake.snapshot() == before
