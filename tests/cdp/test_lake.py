"""The lake: encrypted, transactional, readable while it is written; tables made once."""

import os
import resource
import subprocess
import sys
import threading

import duckdb
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify

from cdp.errors import Busy, LakeError
from cdp.lake import delta, fill, held, register
from cdp.lake.build import Select, build, find_inputs, is_empty, reads_nothing, sql_file, sql_tables
from cdp.lake.engine import load_extensions, open_lake
from cdp.lake.lineage import column_lineage
from cdp.lake.maintain import expire, remove_orphans
from cdp.lake.register import entries
from cdp.lake.tables import OPERATIONS, drop_derived, forget_builds, shapes
from cdp.store.connect import LAKE_ROLE, api_address, connect, lake_address, owner_address
from cdp.store.lock import queue
from tests.conftest import ROOT, cdp, opened

STAGES = ("standardise", "identity", "profile", "loyalty", "insight", "publish")


def test_files_are_encrypted_and_hold_no_value_in_plain(platform):
    platform.lake.write(
        lambda: platform.lake.rows(
            "create or replace table lake.main.plain as select 'hunter2hunter2' as v from range(99)"
        ),
        "t",
    )
    files = list(platform.workspace.path("lake").rglob("*.parquet"))
    assert files
    assert not any(b"hunter2hunter2" in file.read_bytes() for file in files)
    with pytest.raises(duckdb.Error):
        duckdb.connect().execute(f"from '{files[0]}'").fetchall()


def test_small_writes_are_never_inlined_into_the_catalog(platform):
    platform.lake.write(
        lambda: platform.lake.rows(
            "create or replace table lake.main.small as select {'q': 'it''s \"x\"', 'd': date '2026-01-01'} as s"
        ),
        "t",
    )
    assert platform.lake.rows("select s.q from small") == [('it\'s "x"',)]
    assert platform.store.execute(
        "select count(*) from pg_tables where schemaname = 'lake' and tablename like '%inlined_data\\_%\\_%'"
    ).fetchall() == [(0,)]


def test_the_lakes_role_cannot_see_the_store_nor_the_apis_the_catalog(platform):
    with connect(lake_address(platform.workspace)) as lake, pytest.raises(Exception, match="permission denied"):
        lake.execute("select * from store.profiles")
    with connect(api_address(platform.workspace)) as api, pytest.raises(Exception, match="permission denied"):
        api.execute("select * from lake.ducklake_snapshot")
    assert LAKE_ROLE == "cdp_lake"


def test_a_failed_write_leaves_the_old_snapshot(platform):
    lake = platform.lake
    lake.write(lambda: lake.rows("create or replace table lake.main.kept as select 1 as v"), "t")
    before = lake.snapshot()

    def fail():
        lake.rows("create or replace table lake.main.kept as select 2 as v")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        lake.write(fail, "t")
    assert lake.rows("select v from kept") == [(1,)]
    assert lake.snapshot() == before


def test_a_full_disk_says_so_and_keeps_the_old_snapshot(platform):
    platform.lake.write(lambda: platform.lake.rows("create or replace table lake.main.disk as select 1 as v"), "t")
    script = """
import resource, signal, sys
from cdp.errors import LakeError
from cdp.lake.engine import load_extensions, open_lake
from cdp.settings import Settings
from cdp.workspace import open_workspace
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_lake(open_workspace(Settings())) as lake:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    try:
        lake.write(lambda: lake.rows("create or replace table lake.main.disk as select md5(range::varchar) v from range(500000)"), "t")
    except LakeError as error:
        print(error)
        sys.exit(7)
"""
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"CDP_HOME": str(platform.workspace.home)},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "the last snapshot is untouched" in done.stdout
    with open_lake(platform.workspace) as again:
        assert again.rows("select v from disk") == [(1,)]


def test_a_conflicting_writer_is_repeated(platform):
    lake = platform.lake
    lake.write(lambda: lake.rows("create or replace table lake.main.raced as select 0 as v"), "t")
    tries = []

    def add():
        tries.append(1)
        lake.rows("update lake.main.raced set v = v + 1")
        if len(tries) == 1:  # another process is faster once
            script = "from cdp.lake.engine import open_lake\nfrom cdp.settings import Settings\nfrom cdp.workspace import open_workspace\n" \
                "with open_lake(open_workspace(Settings())) as lake:\n    lake.write(lambda: lake.rows('update lake.main.raced set v = v + 10'), 't')"  # fmt: skip
            subprocess.run(
                [sys.executable, "-c", script],
                env=os.environ | {"CDP_HOME": str(platform.workspace.home)},
                cwd=ROOT,
                check=True,
            )

    lake.write(add, "t")
    assert len(tries) == 2
    assert lake.rows("select v from raced") == [(11,)]


def test_readers_pin_a_snapshot_and_expiry_keeps_it(platform):
    lake = platform.lake
    lake.write(lambda: lake.rows("create or replace table lake.main.pinned as select 'old' as v"), "t")
    pinned = lake.snapshot()
    lake.write(lambda: lake.rows("create or replace table lake.main.pinned as select 'new' as v"), "t")
    lake.write(lambda: lake.rows("create or replace table lake.main.pinned as select 'newest' as v"), "t")
    assert expire(lake, [pinned]) > 0
    with open_lake(platform.workspace, snapshot=pinned) as reader:
        assert reader.rows("select v from pinned") == [("old",)]
        with pytest.raises(duckdb.Error):
            reader.rows("create table lake.main.no as select 1")
    assert lake.rows("select v from pinned") == [("newest",)]


def test_orphans_of_a_killed_writer_are_removed(platform):
    orphan = platform.workspace.path("lake", "main", "kept", "orphan.parquet")
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"PAR1")
    remove_orphans(platform.lake)
    assert not orphan.exists()


def test_a_table_is_made_again_only_when_its_text_or_inputs_change(platform):
    lake = platform.lake
    one, two = Select("made_one", "select 1 as a", ""), Select("made_two", "select a + 1 as b from made_one", "")
    assert build(lake, one).changed
    assert build(lake, two).changed
    assert not build(lake, one).changed
    assert not build(lake, two).changed
    assert build(lake, Select("made_one", "select 1 as a -- reworded", "")).changed
    assert not build(lake, two).changed, "an equal result stops the rebuild of what follows"
    assert build(lake, Select("made_one", "select 5 as a", "")).changed
    assert build(lake, two).changed
    assert lake.rows("select b from made_two") == [(6,)]
    assert entries(lake)["made_two"].lineage == {"b": [("made_one", "a")]}
    with pytest.raises(LakeError, match="never built"):
        build(lake, Select("x", "select * from no_such_table", ""))


def table_ids(lake, table):
    return lake.rows("select table_id from ducklake_table_info('lake') where table_name = ?", [table])


@pytest.mark.long
def test_a_table_that_keeps_its_columns_is_filled_again_and_any_other_is_replaced(platform, monkeypatch):
    """A new table changes the lake's schema, which every connection reads again; what it holds is the same either way."""
    lake = platform.lake
    monkeypatch.setattr(fill, "FILLED", 10**9)
    build(lake, Select("filled", "select 1 as a, 'x' as b", ""))
    first = table_ids(lake, "filled")
    build(lake, Select("filled", "select $n as a, 'y' as b from range(3)", ""), {"n": 7})
    assert table_ids(lake, "filled") == first
    assert lake.rows("from lake.main.filled") == lake.rows("from filled") == [(7, "y")] * 3
    assert not lake.rows("select 1 from ducklake_list_files('lake', 'filled') where delete_file is not null")
    for other in (
        "select 'wide' as a, 'y' as b",
        "select 'wide' as a",
        "select 'wide' as c",
        "select 2 as d, 1 as c",
        "select 2 as c, 1 as d",
    ):
        before = table_ids(lake, "filled")
        build(lake, Select("filled", other, ""))
        assert table_ids(lake, "filled") != before, other
        assert [column for column, _ in entries(lake)["filled"].columns] == [
            row[0] for row in lake.rows("describe filled")
        ]
    replaced = 0
    monkeypatch.undo()
    for turn in range(60):  # the catalog counts all the rows that it ever had, and joins are planned by that
        before = table_ids(lake, "filled")
        lake.run_id = f"run {turn}"
        build(lake, Select("filled", f"select {turn} as c, 1 as d", ""))
        replaced += table_ids(lake, "filled") != before
    assert 1 <= replaced <= 12, "one in twenty"
    monkeypatch.setattr(fill, "FILLED", 10**9)
    lake.write(lambda: register.record(lake, register.REPLACED, "test"), "after a retention")
    before = table_ids(lake, "filled")
    build(lake, Select("filled", "select 8 as c, 1 as d", ""))
    assert table_ids(lake, "filled") != before, "its extremes left the catalog"
    register.compact(lake, served=register.REPLACED)
    before = table_ids(lake, "filled")
    build(lake, Select("filled", "select 9 as c, 1 as d", ""))
    assert table_ids(lake, "filled") == before, "until the release"
    monkeypatch.setattr(fill, "MOST_EMPTIED", 1)
    build(lake, Select("filled", "select 3 as c, 1 as d from range(2)", ""))
    large = table_ids(lake, "filled")
    build(lake, Select("filled", "select 4 as c, 1 as d", ""))
    assert table_ids(lake, "filled") != large, "of a large one each row would have to be read to be taken out"
    assert lake.rows("from lake.main.filled") == lake.rows("from filled") == [(4, 1)]


def test_a_new_lake_has_every_table_and_none_is_taken_for_built(new_workspace):
    with opened(new_workspace()) as found:
        lake = found.lake
        assert lake.tables() >= shapes().keys() | OPERATIONS.keys()
        with pytest.raises(LakeError, match="core__customers was never built"):
            build(lake, Select("x", "select * from core__customers", ""))
        columns = ", ".join(f"cast(null as {kind}) as {name}" for name, kind in shapes()["mart__segments"].items())
        before = table_ids(lake, "mart__segments")
        assert build(lake, Select("mart__segments", f"select {columns}", "")).rows == 1
        assert table_ids(lake, "mart__segments") == before, "made once, and filled"
        assert build(lake, Select("mart__segments", f"select {columns}, 1 as more", "")).rows == 1
        assert table_ids(lake, "mart__segments") != before
        forget_builds(lake)
        assert lake.rows("from lake.main.mart__segments") == lake.rows("from mart__segments") == []
        before = table_ids(lake, "mart__segments")
        assert build(lake, Select("mart__segments", f"select {columns}", "")).rows == 1
        assert table_ids(lake, "mart__segments") == before


def reads_the_lake(lake, table):
    return "DUCKLAKE" in str(lake.rows(f"explain from {table}"))


def test_the_rows_of_a_small_table_are_read_in_memory_by_what_follows_in_a_run(platform, monkeypatch):
    lake, one = platform.lake, Select("held_one", "select i, -0.0::double as z, {'a': [i], 'd': date '2026-01-01'} as s from range(9) t(i)", "")
    build(lake, one)
    assert not reads_the_lake(lake, "held_one")
    assert lake.rows("from held_one order by 1") == lake.rows("from lake.main.held_one order by 1")
    assert register.summed(lake, "lake.main.held_one") == entries(lake)["held_one"].version
    with delta.shadowed(lake, {"held_one": "i = 3"}):
        assert lake.rows("select i from held_one") == [(3,)]
    assert not reads_the_lake(lake, "held_one")
    assert lake.rows("select count(*) from held_one") == [(9,)]

    def fail():
        fill.make(lake, "held_one", "select 1::bigint as i", "other")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        lake.write(fail, "t")
    assert lake.rows("select count(*) from held_one") == lake.rows("select count(*) from lake.main.held_one") == [(9,)]
    lake.write(lambda: lake.rows("delete from lake.main.held_one where i > 4") and register.record(lake, "held_one", "by hand"), "t")
    assert reads_the_lake(lake, "held_one"), "another way of writing it lets it go"
    assert lake.rows("select count(*) from held_one") == [(5,)]
    build(lake, one)
    held.let_go(lake)
    assert reads_the_lake(lake, "held_one")
    monkeypatch.setattr(held, "MOST", 8)
    build(lake, Select("held_two", "from held_one", ""))
    assert reads_the_lake(lake, "held_two"), "of large tables nothing is kept in memory"
    assert "making" not in {name for (name,) in lake.rows("select table_name from duckdb_tables() where database_name = 'temp'")}


def test_the_newest_note_of_a_table_holds_whether_or_not_a_run_came_to_its_end(platform):
    lake = platform.lake
    for number in (1, 2, 3):
        build(lake, Select("noted", f"select {number} as a", ""))
    noted, held = (
        "select count(*), count(distinct fingerprint) from ops__builds where table_name = 'noted'",
        entries(lake)["noted"],
    )
    assert lake.rows(noted) == [(3, 3)]
    with open_lake(platform.workspace) as other:  # the next run, after one that was killed
        assert entries(other)["noted"] == held
        register.compact(other)
        assert other.rows(noted) == [(1, 1)]
        before = other.snapshot()
        register.compact(other)
        assert other.snapshot() == before, "where nothing was noted nothing is written"
    with open_lake(platform.workspace) as third:
        assert entries(third)["noted"] == held
        run_ids = third.rows("select distinct run_id from ops__builds where table_name = 'noted'")
        assert run_ids == [(lake.run_id,)], "of the run that made it"


def test_inputs_are_found_in_the_text():
    query = "with a as (select * from t1), t2 as (select * from a) select * from t2 join t3 using (x) where y in (select z from t4)"
    assert find_inputs(query) == ("t1", "t3", "t4")


def test_tables_that_are_known_to_be_empty_are_not_asked(platform):
    lake = platform.lake
    build(lake, Select("no_rows", "select 1 as a where false", ""))
    build(lake, Select("a_row", "select 1 as a", ""))
    assert {"no_rows", "a_row"} <= lake.tables()
    assert reads_nothing(lake, "select * from no_rows")
    assert not reads_nothing(lake, "select * from no_rows full join a_row using (a)")
    assert reads_nothing(lake, "select * from no_rows cross join a_row", beside=("a_row",))
    assert not reads_nothing(lake, "select 1 as a"), "what reads no table finds what it says"
    assert is_empty(lake, "ops__files"), "of what the register does not count the lake itself is asked"
    forget_builds(lake)
    assert not is_empty(lake, "a_row"), "nor may what a run that ended early has forgotten"
    assert is_empty(lake, "never_made")
    build(lake, Select("no_rows", "select 2 as a", ""))
    assert not reads_nothing(lake, "select * from no_rows")


def test_lineage_goes_through_ctes_and_functions():
    found = column_lineage(
        "with a as (select x + y as z from t) select upper(z) as out, 1 as one from a",
        {"t": [("x", "int"), ("y", "int")]},
    )
    assert found == {"out": [("t", "x"), ("t", "y")], "one": []}


def test_an_erasure_keeps_the_newest_notes_though_it_gives_their_rows_other_ids(new_workspace):
    """Rewritten by several threads the rows of a register come in any order."""
    with opened(new_workspace()) as found:
        lake = found.lake
        for number in range(15):
            lake.write(lambda n=number: register.record(lake, "raw_x#columns", f"mark {n}"), "note")
        lake.write(lambda: drop_derived(lake), "erase")
        lake.forget()
        assert lake.tables() >= shapes().keys(), "made again at once, not one by one by the run that follows"
        assert register.recorded(lake, "raw_x#columns") == "mark 14"
        assert lake.rows("select fingerprint from ops__builds where table_name = 'raw_x#columns'") == [("mark 14",)]


def test_lineage_is_found_once_for_a_text_and_the_columns_that_it_reads(platform, monkeypatch):
    lake, asked = platform.lake, []
    found = lambda query, inputs: asked.append(query) or column_lineage(query, inputs)  # noqa: E731
    monkeypatch.setattr("cdp.lake.build.column_lineage", found)
    reader = Select("traced_reader", "select a as b from traced", "")
    for text in ("select 1 as a", "select 2 as a", "select 3 as a"):
        build(lake, Select("traced", text, ""))
        build(lake, reader)
        assert entries(lake)["traced_reader"].lineage == {"b": [("traced", "a")]}
    assert asked.count(reader.sql) == 1
    build(lake, Select("traced", "select 'x' as a", ""))
    build(lake, reader)
    build(lake, Select("traced_reader", "select a as c from traced", ""))
    assert entries(lake)["traced_reader"].lineage == {"c": [("traced", "a")]}
    assert [query for query in asked if "from traced" in query] == [reader.sql, reader.sql, "select a as c from traced"]


def test_lineage_of_all_columns_is_that_of_each():
    query = "with a as (select k, sum(v) as s from t group by k union all select k, w from u) select a.k, s + coalesce(w, 0) as both, count(*) over () as n from a left join u using (k)"
    inputs = {"t": [("k", "int"), ("v", "int")], "u": [("k", "int"), ("w", "int")]}
    found = column_lineage(query, inputs)
    tree = qualify(
        sqlglot.parse_one(query, dialect="duckdb"), schema={t: dict(c) for t, c in inputs.items()}, dialect="duckdb"
    )
    for column in tree.named_selects:  # each by itself, as sqlglot's page shows it
        alone = lineage(column, tree, schema={t: dict(c) for t, c in inputs.items()}, dialect="duckdb")
        leaves = {
            (leaf.source.name, leaf.name.split(".")[-1].strip('"'))
            for leaf in alone.walk()
            if isinstance(leaf.source, exp.Table)
        }
        assert found[column] == sorted(pair for pair in leaves if pair[1] in dict(inputs[pair[0]]))
    assert found["both"] == [("t", "v"), ("u", "w")]
    assert {("t", "k"), ("u", "k")} <= set(found["k"])
    assert found["n"] == []
    assert column_lineage("select a from", {}) == {}, "what cannot be followed has none"


@pytest.mark.parametrize("stage", STAGES)
def test_every_sql_file_is_one_described_select(stage):
    for table in sql_tables(stage):
        select = sql_file(stage, table)
        assert select.description.startswith("Grain:"), table
        parsed = sqlglot.parse(select.sql, dialect="duckdb")
        assert len(parsed) == 1
        assert isinstance(parsed[0], sqlglot.exp.Query)


def test_runs_queue_and_say_what_they_wait_for(workspace):
    said, order = [], []

    def second():
        with queue(workspace, "run two", wait=True, log=said.append):
            order.append("second")

    with queue(workspace, "run one", wait=True, log=said.append):
        with pytest.raises(Busy, match="cdp run one"), queue(workspace, "run two", wait=False, log=said.append):
            pass
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(1.2)
        assert waiting.is_alive()
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert "waiting for cdp run one" in said[0]


def test_no_wait_says_that_a_run_is_in_progress(workspace):
    with queue(workspace, "run one", wait=True, log=print):
        done = cdp(workspace, "run", "--no-wait", check=False)
    assert done.returncode == 1
    assert "cdp run one" in done.stderr
    assert "is in progress" in done.stderr


def test_a_killed_holder_frees_the_queue(workspace):
    script = "import sys, time\nfrom cdp.settings import Settings\nfrom cdp.store.lock import queue\nfrom cdp.workspace import open_workspace\n" \
        "with queue(open_workspace(Settings()), 'doomed', wait=True, log=print):\n    print('held', flush=True)\n    time.sleep(60)"  # fmt: skip
    holder = subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"CDP_HOME": str(workspace.home)},
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.wait()
    with queue(workspace, "next", wait=True, log=print):
        pass


def test_sql_is_read_only_and_stays_inside_the_lake(workspace):
    with opened(workspace):
        pass
    assert "ops__files" in cdp(workspace, "sql", "show tables", "--newest").stdout
    assert cdp(workspace, "sql", "select 1 as a, '郑' as b", "--format", "csv").stdout == "a,b\n1,郑\n"
    assert cdp(workspace, "sql", "select 1 as a, 2 as a", "--format", "csv").stdout == "a,a_2\n1,2\n"
    for query in (
        "create table lake.main.x as select 1",
        "select * from read_csv('/etc/passwd')",
        "copy (select 1) to '/tmp/x.csv'",
    ):
        done = cdp(workspace, "sql", query, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("error:")


def test_the_password_shows_nowhere_in_the_engine(platform):
    password = platform.workspace.secrets["lake_password"]
    shown = repr(platform.lake.rows("from duckdb_databases()")) + repr(platform.lake.rows("from duckdb_secrets()"))
    assert password not in shown
    with connect(owner_address(platform.workspace)) as store:
        assert password not in repr(store.execute("select query from pg_stat_activity").fetchall())


def test_extensions_come_from_wheels_without_a_network():
    class Offline:
        loaded: list[str] = []  # noqa: RUF012

        def load_extension(self, path):
            self.loaded.append(path)

        def install_extension(self, name):
            raise AssertionError(f"{name} would be fetched")

    load_extensions(Offline())
    assert all(path.endswith(".duckdb_extension") for path in Offline.loaded)
    assert len(Offline.loaded) == 3


def test_what_does_not_fit_into_memory_is_spilled_encrypted_into_the_workspace(platform):
    with platform.lake.memory("60MB"):
        platform.lake.rows(
            "create or replace table memory.main.big as select md5(range::varchar) || 'hunter2' as v from range(3000000) order by v"
        )
        spilled = list(platform.workspace.path("spill").iterdir())
        assert spilled
        assert not any(b"hunter2" in file.read_bytes() for file in spilled)
        assert platform.lake.scalar("select count(*) from big") == 3_000_000
        platform.lake.rows("drop table memory.main.big")
