"""Nothing new: what makes a run worth its while, one by one; and that `cdp run` asks before it runs."""

import os
import shutil
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster_shared.record import copy

from assets import definitions, landing
from assets.automation import JOB
from assets.defs import loyalty, privacy
from assets.defs.publish import published
from assets.platform import Platform, _whole
from cdp import up_to_date
from cdp.clock import parse_as_of
from cdp.errors import WorkspaceError
from cdp.lake.build import Built
from cdp.settings import Settings
from cdp.sources.ingest import FileReport, IngestReport
from cdp.store import assignment, inbox, releases, standing
from cdp.store.assignment import Move
from cdp.store.connect import SCHEMA, api_address, connect, lake_address, owner_address
from cdp.store.migrate import require_migrated
from cdp.workspace import open_workspace
from identity import artefact
from identity.ids import uuid7
from tests.conftest import NOW, cdp, opened

AS_OF = f"{NOW:%Y-%m-%d}"  # the town's run had the end of that day
AT = parse_as_of(AS_OF)
# these change nothing that a run makes, or are looked at by themselves
UNREAD = {
    "alembic_version", "alerts", "api_keys", "audience_members", "audit_seals", "changes", "customer_tiers", "derived_state",
    "idempotency_keys", "inbox", "landed_files", "releases", "sessions", "standing", "webhook_dead_letters", "webhooks",
}  # fmt: skip
TABLES = """
    select c.relname, exists(select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'touched')
    from pg_class c where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
"""


@pytest.fixture
def store(town):
    """The store of a town whose run has ended; afterwards what a test changed counts as read."""
    with connect(owner_address(town)) as connection:
        left = standing.last(connection)
        yield connection
        with connect(lake_address(town)) as lake:
            noted(connection, left, touches=standing.touches(connection), snapshot_id=standing.snapshot(lake))


def noted(store, left, **changed):
    standing.forget(store)
    standing.note(store, replace(left, **changed))


def left_by(town, store, now=AT, same_model=True):
    found = up_to_date.since(town, store, now, same_model=same_model)
    return found and found.run_id


def test_a_run_leaves_word_and_nothing_is_new_since(town, store):
    assert left_by(town, store) == standing.last(store).run_id


def test_what_is_made_after_the_release_is_released_too(store):
    """The transparency report counts the requests that a release let end."""
    assert releases.newest(store)[0].snapshot_id == standing.last(store).snapshot_id


@pytest.mark.parametrize(
    ("version", "hint"), [("0001", "cdp init"), ("9999", "install that version"), (None, "cdp init")]
)
def test_a_store_of_another_version_is_refused_with_what_to_do(store, version, hint):
    require_migrated(store)
    with store.transaction() as changed:
        if version is None:
            store.execute("alter table alembic_version rename to no_version")
        else:
            store.execute("update alembic_version set version_num = %s", [version])
        with pytest.raises(WorkspaceError) as refused:
            require_migrated(store)
        raise psycopg.Rollback(changed)
    assert hint in refused.value.hint
    require_migrated(store)


def test_a_run_asks_for_that_before_it_does_anything(town, store, monkeypatch):
    def refuse(_):
        raise WorkspaceError("older", "run 'cdp init'")

    monkeypatch.setattr("assets.platform.require_migrated", refuse)
    with pytest.raises(WorkspaceError), platform_of(town, monkeypatch):
        pass
    assert standing.last(store) is not None


def test_the_command_says_that_nothing_is_new_what_there_is_and_runs_nothing(town, store):
    before = standing.last(store)
    with runs(town) as ids:
        done = cdp(town, "run", "--as-of", AS_OF)
        assert f"nothing is new since run {before.run_id[:8]}" in done.stderr
        assert "cdp run --force" in done.stderr
        assert "known customers" in done.stderr
        assert ids() == [before.run_id]
        assert standing.last(store) == before


@pytest.mark.long
def test_forced_it_goes_through_every_step_and_leaves_word_anew(town, store):
    before = standing.last(store)
    with runs(town) as ids:
        cdp(town, "run", "--force", "--as-of", AS_OF)
        after = standing.last(store)
        assert ids()[0] == after.run_id != before.run_id
    assert (after.touches, after.rules, after.as_of) == (before.touches, before.rules, before.as_of)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("later", "none"), [(HOUR - timedelta(seconds=1), False), (HOUR, True), (-timedelta(seconds=1), True), (24 * HOUR, True)]
)  # fmt: skip
def test_time_alone_is_a_reason_for_a_run_after_an_hour_and_so_is_an_earlier_one(town, store, later, none):
    noted(store, standing.last(store), as_of=NOW)
    assert (left_by(town, store, NOW + later) is None) is none
    noted(store, standing.last(store), as_of=AT)


def test_so_is_another_model_and_none_where_there_was_one(town, store):
    assert left_by(town, store, same_model=False) is None
    folder = town.path("models")
    assert artefact.is_used(folder)
    version = artefact.current(folder)
    (folder / "current").unlink()
    assert not artefact.is_used(folder)
    artefact.promote(folder, version)
    artefact.note_used(folder, version)
    assert artefact.is_used(folder)


def test_so_is_a_file_that_is_new_or_another_by_the_same_name(town, store):
    old = next(town.path("landing", "web").iterdir())
    before = old.stat()
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert left_by(town, store) is None
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert left_by(town, store)
    new = town.path("landing", "web", "new.jsonl")
    new.write_text("{}\n", encoding="utf-8")
    assert left_by(town, store) is None
    new.unlink()
    assert left_by(town, store)


def test_so_is_an_event_in_the_inbox(town, store):
    inbox.add(store, "web", [("m1", "{}")], NOW)
    assert left_by(town, store) is None
    store.execute("delete from inbox")


@pytest.mark.parametrize("changed", ["identity.yaml", "insight.yaml", "sources/web.yaml", "programmes/{any}"])
def test_so_is_a_changed_rule(town, store, changed):
    path = next(town.path("programmes").iterdir()) if "{any}" in changed else town.path(*changed.split("/"))
    text, before = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(text + "\n# a note\n", encoding="utf-8")
    assert left_by(town, store) is None
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert left_by(town, store)


def test_so_is_another_setting_but_not_another_place_or_pace(town, store):
    assert left_by(open_workspace(Settings(home=town.home, phone_regions="CN,GB")), store) is None
    assert left_by(open_workspace(Settings(home=town.home, threads=1, memory_limit="1GB", ui_port=4000)), store)


def test_so_is_other_code_down_to_one_letter_of_a_select(town, monkeypatch, tmp_path):
    rooms = [shutil.copytree(room, tmp_path / room.name, copy_function=os.link) for room in up_to_date._rooms()]
    assert [room.name for room in rooms] == ["cdp", "identity", "assets"]
    monkeypatch.setattr(up_to_date, "_rooms", lambda: rooms)
    before = up_to_date.rules(town)
    (rooms[0] / "__pycache__").mkdir(exist_ok=True)
    (rooms[0] / "__pycache__" / "beside.cpython-311.pyc").write_bytes(b"x")
    assert up_to_date.rules(town) == before
    select = rooms[0] / "sql" / "profile" / "core__customers.sql"
    text = select.read_text(encoding="utf-8")
    select.unlink()
    select.write_text(text.replace("select", "Select", 1), encoding="utf-8")
    os.utime(select, ns=(0, 0))
    assert up_to_date.rules(town) != before


def test_rules_are_those_of_before_they_were_read_whatever_happens_while_a_run_waits(town):
    there = open_workspace(Settings(home=town.home))
    before, path = up_to_date.at_load(there), town.path("retention.yaml")
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n# changed\n", encoding="utf-8")
    assert up_to_date.at_load(open_workspace(Settings(home=town.home))) == before != up_to_date.rules(there)
    path.write_text(text, encoding="utf-8")
    assert up_to_date.rules(there) == before


def test_so_is_a_commit_to_the_lake(town, store):
    before = standing.last(store)
    with opened(town) as platform:
        platform.lake.write(
            lambda: platform.lake.connection.execute("create table lake.main.beside as select 1 as one"), "by hand"
        )
    assert left_by(town, store) is None
    with opened(town) as platform:
        platform.lake.write(lambda: platform.lake.connection.execute("drop table lake.main.beside"), "by hand")
        noted(store, before, snapshot_id=platform.lake.snapshot())
    assert left_by(town, store)


def test_so_is_whatever_anybody_else_writes_into_the_store(town, store):
    with connect(owner_address(town)) as other, other.transaction():
        assignment.apply(other, [Move("web:user:new", uuid7(NOW))], NOW, "test", "test")
    assert left_by(town, store) is None


def test_what_the_api_writes_counts_though_its_role_owns_nothing(town, store):
    with connect(api_address(town)) as api:
        api.execute("insert into offers select * from offers where false")  # a statement counts, whatever it did
    assert left_by(town, store) is None


def test_what_no_run_reads_does_not_count_nor_what_a_run_writes_itself(town, store):
    store.execute("update derived_state set position = position")
    assert left_by(town, store)
    with connect(owner_address(town)) as run:
        run.execute(standing.OWN_WRITES)
        run.execute("update profiles set customer_id = customer_id")
    assert left_by(town, store)


def test_every_table_of_the_store_is_watched_or_named_as_one_that_no_run_reads(store):
    found = dict(store.execute(TABLES, [SCHEMA]).fetchall())
    assert {name for name, watched in found.items() if not watched} == UNREAD


def test_while_somebody_writes_the_count_says_nothing(town, store):
    with connect(owner_address(town)) as other, other.transaction():
        other.execute("update derived_state set position = position")
        assert standing.touches(store) is None
        assert left_by(town, store) is None
    assert left_by(town, store)


@pytest.mark.long
def test_a_run_that_mended_the_ledger_after_it_was_read_back_has_the_next_one_read_it(town, store):
    store.execute(
        "update ledger_accounts set balance = balance + 1 where account_id = (select min(account_id) from ledger_accounts)"
    )
    assert "do not add up" in cdp(town, "run", "--as-of", AS_OF).stderr
    assert standing.last(store) is None
    cdp(town, "run", "--as-of", AS_OF)
    assert left_by(town, store)


@contextmanager
def platform_of(town, monkeypatch, *, whole=True):
    """What the steps of a run have, of one that went through the whole job or not."""
    monkeypatch.setattr("assets.platform._whole", lambda _: whole)
    monkeypatch.setenv("CDP_HOME", str(town.home))
    with dg.build_init_resource_context() as context, Platform(as_of=AS_OF).yield_for_execution(context) as platform:
        yield platform


def test_a_run_takes_the_word_away_as_soon_as_it_begins_and_leaves_another(town, store, monkeypatch):
    """Nobody is told that nothing is new while a run is under way: it may be one from scratch."""
    with platform_of(town, monkeypatch) as platform:
        assert standing.last(store) is None
        assert left_by(town, store) is None
    assert standing.last(store).as_of == platform.now == AT


def test_it_leaves_none_where_it_was_not_whole_or_a_step_left_work_or_a_rule_changed_or_somebody_was_writing(
    town, store, monkeypatch
):
    left, path = standing.last(store), town.path("retention.yaml")
    text = path.read_text(encoding="utf-8")
    with platform_of(town, monkeypatch, whole=False):
        pass
    assert standing.last(store) is None
    with platform_of(town, monkeypatch) as platform:
        platform.leave_undone()
    assert standing.last(store) is None
    with platform_of(town, monkeypatch):
        path.write_text(text + "\n# changed\n", encoding="utf-8")
    assert standing.last(store) is None
    path.write_text(text, encoding="utf-8")
    with connect(owner_address(town)) as other, other.transaction():
        other.execute("update derived_state set position = position")
        with platform_of(town, monkeypatch):
            pass
    assert standing.last(store) is None
    standing.note(store, left)


def test_rules_are_named_before_the_definitions_read_them(monkeypatch):
    class Asked(Exception):
        pass

    def ask(_):
        raise Asked

    monkeypatch.setattr(up_to_date, "at_load", ask)
    with pytest.raises(Asked):
        definitions.defs()


def test_the_first_touch_of_a_new_store_counts(workspace):
    with connect(owner_address(workspace)) as store:
        before = standing.touches(store)
        store.execute("update profiles set customer_id = customer_id")
        assert standing.touches(store) == before + 1


@pytest.mark.long
def test_a_run_that_failed_leaves_no_word_and_the_next_one_runs(town, store):
    broken = town.path("models", "current")
    version = broken.read_text(encoding="utf-8")
    broken.write_text("missing", encoding="utf-8")
    done = cdp(town, "run", "--force", "--as-of", AS_OF, check=False)
    assert done.returncode == 1
    assert standing.last(store) is None
    broken.write_text(version, encoding="utf-8")
    done = cdp(town, "run", "--as-of", AS_OF)
    assert "nothing is new" not in done.stderr
    assert left_by(town, store)


@dg.op
def one():
    pass


@dg.op
def two():
    pass


@dg.job(name=JOB, executor_def=dg.in_process_executor)
def whole_job():
    one()
    two()


def test_only_a_run_all_of_whose_steps_are_known_to_have_succeeded_was_a_whole_one():
    """One that could not write its events any more failed nowhere."""
    with dg.DagsterInstance.ephemeral() as instance:

        def whole(job=whole_job, *, executed=True, **chosen):
            run = instance.create_run_for_job(job, **chosen)
            if executed:
                execute_run(InMemoryJob(job), run, instance)
            return _whole(SimpleNamespace(run=run, instance=instance))

        assert whole()
        assert not whole(executed=False)
        assert not whole(whole_job.get_subset(op_selection=["one"]), op_selection=["one"])
        first = instance.create_run_for_job(whole_job)
        assert not whole(parent_run_id=first.run_id, root_run_id=first.run_id), "again"
        run = instance.create_run_for_job(whole_job)
        execute_run(InMemoryJob(whole_job), run, instance)
        for chosen in (
            {"asset_selection": frozenset()},
            {"asset_check_selection": frozenset()},
            {"job_name": "another"},
        ):
            assert not _whole(SimpleNamespace(run=copy(run, **chosen), instance=instance)), chosen
        assert _whole(SimpleNamespace(run=copy(run, step_keys_to_execute=None), instance=instance)), "as a sensor asks"


class Undone:
    """What a step sees of the platform where it only says that something is left to do."""

    workspace = store = now = started_at = landing = None
    lake = SimpleNamespace(busy=lambda: nullcontext(0.0), snapshot=lambda: 1)
    said = False

    def leave_undone(self):
        self.said = True


@pytest.mark.parametrize("left_alone", [[], ["a customer"]])
def test_publish_says_that_it_left_customers_alone(left_alone, monkeypatch):
    monkeypatch.setattr(
        "assets.defs.publish.publish", lambda *_: SimpleNamespace(left_alone=left_alone, written=0, batches=0, rows={})
    )
    platform, context = Undone(), dg.build_asset_context()
    published.__wrapped__(context, platform)
    assert platform.said == bool(left_alone)


@pytest.mark.parametrize(("sha256", "left"), [("", True), ("abc", False)])
def test_a_file_that_could_not_be_opened_is_looked_at_again_though_it_looks_as_it_did(sha256, left, monkeypatch):
    """Only its rights change when it is mended."""
    monkeypatch.setattr("assets.landing.landed.settle", lambda *_: None)
    monkeypatch.setattr("assets.landing.seen", lambda *_: [])
    monkeypatch.setattr("assets.landing.chosen_days", lambda _: ["2026-03-01"])
    done = IngestReport("web", [FileReport("a.jsonl", sha256, 0, "a.jsonl", blocked="cannot be read")])
    platform = Undone()
    landing.settle(dg.build_asset_context(), platform, None, [], [], done)
    assert platform.said is left


@pytest.mark.parametrize(
    ("written", "rewarded", "asks", "left"),
    [(1, 0, True, True), (0, 1, True, True), (0, 0, True, False), (1, 1, False, False)],
)
def test_postings_on_which_others_depend_are_looked_at_again(written, rewarded, asks, left, monkeypatch):
    for name, answer in (
        ("settle.settle", written), ("referrals.settle", (rewarded, {})), ("reconcile.expire", 1),
        ("history.build_entries", Built("core__ledger_entries", 0, changed=False)), ("report", None),
    ):  # fmt: skip
        monkeypatch.setattr(f"assets.defs.loyalty.{name}", lambda *_, answer=answer, **__: answer)
    platform = Undone()
    platform.programme = SimpleNamespace(asks_the_past=asks)
    loyalty.core__ledger_entries.op.compute_fn.decorated_fn(dg.build_asset_context(), platform)
    assert platform.said is left


@pytest.mark.parametrize(
    ("changed", "moved", "left"), [(True, True, False), (True, False, True), (False, False, False)]
)
def test_a_report_that_no_release_shows_yet_is_left_to_the_next_run(changed, moved, left, monkeypatch):
    made = SimpleNamespace(changed=changed), ""
    monkeypatch.setattr("assets.defs.privacy.transparency.build_transparency", lambda *_: made)
    monkeypatch.setattr("assets.defs.privacy.releases.move", lambda *_: moved)
    monkeypatch.setattr("assets.defs.privacy.report", lambda *_, **__: None)
    platform = Undone()
    privacy.mart__transparency.op.compute_fn.decorated_fn(SimpleNamespace(run_id="r"), platform)
    assert platform.said is left


@contextmanager
def runs(town):
    """A function that gives the ids of all runs of a workspace, the newest first."""
    with dg.DagsterInstance.from_config(str(town.path("dagster"))) as instance:
        yield lambda: [run.run_id for run in instance.get_runs()]
