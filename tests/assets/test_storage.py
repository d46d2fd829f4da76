"""The event log whose connections are kept is the log that Dagster itself reads."""

import os
import threading

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from assets.launch import OLDER_YAML, prepare_home
from assets.storage import MOST_OPEN, PooledEventLog


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(prepare_home(tmp_path / "dagster")))
    return tmp_path / "dagster"


@dg.asset
def thing():
    return dg.MaterializeResult(metadata={"n": 1})


def events(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return [
            (
                run.run_id,
                [r.event_log_entry.dagster_event_type for r in instance.get_records_for_run(run.run_id).records],
            )
            for run in instance.get_runs()
        ]


def test_runs_written_by_it_are_read_by_dagsters_own_log_and_the_other_way_round(home):
    for _ in range(2):
        with dg.DagsterInstance.get() as instance:
            assert isinstance(instance.event_log_storage, PooledEventLog)
            assert dg.materialize([thing], instance=instance).success
        written = events(home)
        (home / "dagster.yaml").write_text(OLDER_YAML[0])
        assert events(home) == written
        with dg.DagsterInstance.get() as instance:
            assert not isinstance(instance.event_log_storage, PooledEventLog)
            assert dg.materialize([thing], instance=instance).success
        assert "PooledEventLog" in prepare_home(home).joinpath("dagster.yaml").read_text()
    assert len(events(home)) == 4
    with dg.DagsterInstance.get() as instance:
        assert (
            instance.get_latest_materialization_event(dg.AssetKey("thing")).asset_materialization.metadata["n"].value
            == 1
        )


@pytest.mark.long
def test_many_runs_keep_few_connections_and_threads_lose_nothing(home):
    """Threads only report, as the servers' do: Dagster itself runs no two jobs in threads of one process."""
    with dg.DagsterInstance.get() as instance:
        for _ in range(MOST_OPEN + 3):
            assert dg.materialize([thing], instance=instance).success
        assert len(instance.event_log_storage._engines) <= MOST_OPEN

        def report():
            for number in range(20):
                instance.report_runless_asset_event(dg.AssetMaterialization("other", metadata={"n": number}))

        threads = [threading.Thread(target=report) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(instance.fetch_materializations(dg.AssetKey("other"), limit=1000).records) == 60


def test_what_is_there_is_asked_once_and_what_is_not_is_asked_again(home, monkeypatch):
    asked = []

    def has_table(self, name):
        asked.append(name)
        return name in found

    found = {"asset_keys"}
    monkeypatch.setattr(SqliteEventLogStorage, "has_table", has_table)
    with dg.DagsterInstance.get() as instance:
        log = instance.event_log_storage
        asked.clear()
        assert [log.has_table("asset_keys"), log.has_table("asset_keys"), log.has_table("later")] == [True, True, False]
        found.add("later")  # a migration
        assert log.has_table("later")
        assert asked == ["asset_keys", "later", "later"]


def test_a_dagster_yaml_that_somebody_changed_stays_theirs(home):
    mine = home.joinpath("dagster.yaml").read_text() + "python_logs: {managed_python_loggers: [x]}\n"
    (home / "dagster.yaml").write_text(mine)
    assert prepare_home(home).joinpath("dagster.yaml").read_text() == mine
    assert os.environ["DAGSTER_HOME"] == str(home)


def test_a_workspace_that_was_moved_finds_its_logs_where_they_are(home, tmp_path):
    with dg.DagsterInstance.get() as instance:
        assert dg.materialize([thing], instance=instance).success
    moved = home.rename(tmp_path / "moved")
    prepare_home(moved)
    assert len(events(moved)) == 1
    assert not home.exists()


def test_what_many_steps_stand_on_is_unpacked_once_and_never_stale(home, monkeypatch):
    """A new materialization, by whatever process, and a wipe are seen; an asset that nothing happened to is not read again."""
    asked = []
    unpack = SqliteEventLogStorage._get_latest_materialization_records

    def counted(self, rows):
        asked.append(len(rows))
        return unpack(self, rows)

    monkeypatch.setattr(SqliteEventLogStorage, "_get_latest_materialization_records", counted)
    thing_key, never = dg.AssetKey("thing"), dg.AssetKey("never")
    with dg.DagsterInstance.get() as instance, dg.DagsterInstance.get() as other:
        latest = lambda: instance.get_latest_materialization_events([thing_key, never]).get(thing_key)  # noqa: E731
        assert latest() is None
        assert dg.materialize([thing], instance=other).success
        first = latest()
        asked.clear()
        assert latest() == first != None  # noqa: E711
        assert instance.get_asset_records([thing_key])[0].asset_entry.last_materialization == first
        assert not asked
        assert dg.materialize([thing], instance=other).success
        assert latest().run_id != first.run_id
        other.wipe_assets([thing_key])
        assert latest() is None
