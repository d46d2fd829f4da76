"""Nothing new: what makes a run worth its while, one by one; and that `cdp run` asks before it runs."""

import os
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest

from cdp import up_to_date
from cdp.clock import parse_as_of
from cdp.settings import Settings
from cdp.store import assignment, inbox, standing
from cdp.store.assignment import Move
from cdp.store.connect import SCHEMA, api_address, connect, lake_address, owner_address
from cdp.store.lock import queue
from cdp.workspace import open_workspace
from identity.ids import uuid7
from tests.conftest import NOW, cdp, opened

AS_OF = f"{NOW:%Y-%m-%d}"  # the town's run had the end of that day
AT = parse_as_of(AS_OF)
# no run reads these, or looks at them by itself
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


def left_by(town, store, now=AT, model=""):
    found = up_to_date.since(town, store, now, model)
    return found and found.run_id


def test_a_run_leaves_word_and_nothing_is_new_since(town, store):
    assert left_by(town, store) == standing.last(store).run_id


def test_the_command_says_that_nothing_is_new_what_there_is_and_runs_nothing(town, store):
    before = standing.last(store)
    with runs(town) as ids:
        done = cdp(town, "run", "--as-of", AS_OF)
        assert f"nothing is new since run {before.run_id[:8]}" in done.stderr
        assert "cdp run --force" in done.stderr
        assert "known customers" in done.stderr
        assert ids() == [before.run_id]
        assert standing.last(store) == before


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


def test_so_is_midnight(town, store):
    assert left_by(town, store, AT + timedelta(seconds=1)) is None


def test_so_is_another_model(town, store):
    assert left_by(town, store, model="another") is None


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


def test_so_is_another_setting_and_other_code(town, store, monkeypatch, tmp_path):
    other = open_workspace(Settings(home=town.home, phone_regions="CN,GB"))
    assert left_by(other, store) is None
    before = up_to_date.rules(town)
    (tmp_path / "cdp").mkdir()
    (tmp_path / "cdp" / "rule.sql").write_text("select 1", encoding="utf-8")
    rooms = up_to_date._rooms()
    monkeypatch.setattr(up_to_date, "_rooms", lambda: [tmp_path / "cdp", *rooms[1:]])
    assert up_to_date.rules(town) != before


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


def test_it_does_not_look_while_another_run_is_under_way_and_waits_for_its_turn(town, store):
    with queue(town, "run one", wait=True, log=print):
        done = cdp(town, "run", "--no-wait", "--as-of", AS_OF, check=False)
    assert done.returncode == 1
    assert "nothing is new" not in done.stderr


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


@contextmanager
def runs(town):
    """A function that gives the ids of all runs of a workspace, the newest first."""
    with dg.DagsterInstance.from_config(str(town.path("dagster"))) as instance:
        yield lambda: [run.run_id for run in instance.get_runs()]
