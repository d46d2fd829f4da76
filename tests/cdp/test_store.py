"""The store: assignment with history, publishing by difference, the change feed, the ledger under concurrency."""

import threading
import time
from datetime import timedelta

import polars as pl
import psycopg
import pytest

from cdp.lake import register
from cdp.lake.build import build_table
from cdp.loyalty.groups import Posting, account_id
from cdp.loyalty.posting import post
from cdp.loyalty.programme import load_programme
from cdp.publish import publish
from cdp.publish.tables import SERVED
from cdp.store import assignment, changes
from cdp.store.assignment import Move
from cdp.store.connect import connect, owner_address
from cdp.store.copied import FLAG, NUMBER, TEXT, TIME, copied
from identity.ids import uuid7
from tests.conftest import NOW, cdp, opened

A, B, C = (uuid7(NOW + timedelta(seconds=n)) for n in range(3))


def held_by(store):
    """Record → customer."""
    return dict(store.execute("select record_id, customer_id::text from assignment").fetchall())


@pytest.fixture
def store(workspace):
    with connect(owner_address(workspace)) as connection:
        yield connection
        connection.execute("truncate customers, assignment, assignment_history, changes, ledger_accounts cascade")


def move(store, *pairs):
    with store.transaction():
        assignment.apply(store, [Move(r, c) for r, c in pairs], NOW, "test", "test")


def events(store):
    changes.sequence(store)
    rows = store.execute("select type, customer_id::text, details from changes order by position").fetchall()
    store.execute("delete from changes")
    return rows


def test_created_moved_merged_and_split_are_told_to_the_feed(store):
    move(store, ("r1", A), ("r2", A), ("r3", B))
    assert {(t, c) for t, c, _ in events(store)} == {("customer.created", A), ("customer.created", B)}
    move(store, ("r3", A))
    assert events(store) == [("customer.merged", B, {"merged_into": A}), ("customer.updated", A, {})]
    move(store, ("r2", C), ("r3", C))
    assert events(store) == [("customer.split", C, {"from": [A]}), ("customer.updated", A, {})]
    move(store, ("r2", A))
    assert events(store) == [("customer.moved", A, {"from": [C]}), ("customer.updated", C, {})]
    move(store, ("r2", A))
    assert events(store) == []


def test_a_retired_id_resolves_to_the_holder_of_most_of_its_last_records_and_comes_back_to_life(store):
    move(store, ("r1", C), ("r2", B), ("r3", B), ("r4", B))
    move(store, ("r2", A), ("r3", A), ("r4", C))
    assert assignment.resolve(store, B) == A, "two of three"
    move(store, ("r2", B))
    assert assignment.resolve(store, B) == B
    assert assignment.resolve(store, uuid7(NOW)) is None


def test_what_was_split_off_a_customer_says_nothing_of_whom_its_id_stands_for_later(store):
    """Four of six records were somebody else's, and were split off; the two that were left went to A."""
    move(store, *((f"r{n}", B) for n in range(6)))
    move(store, *((f"r{n}", C) for n in range(4)))
    move(store, ("r4", A), ("r5", A))
    assert assignment.resolve(store, B) == A
    assert ("customer.merged", B, {"merged_into": A}) in events(store)


def test_history_cannot_be_changed(store):
    move(store, ("r1", A))
    with pytest.raises(psycopg.Error, match="append-only"):
        store.execute("delete from assignment_history")
    with pytest.raises(psycopg.Error, match="append-only"):
        store.execute("update assignment_history set record_id = 'x'")


def test_a_reader_that_remembers_a_position_never_misses_a_row_that_commits_later(workspace, store):
    with connect(owner_address(workspace)) as slow:
        with slow.transaction():
            changes.add(slow, [("late", None, {})], NOW)
            changes.add(store, [("quick", None, {})], NOW)
            changes.sequence(store)
            seen = store.execute("select type, position from changes where position is not null").fetchall()
            assert seen == [("quick", 1)]
        changes.sequence(store)
    assert store.execute("select type from changes where position > 1").fetchall() == [("late",)]


@pytest.fixture
def programme(workspace):
    return load_programme(workspace)


def posting(record, amount, name, day=0, kind="earn", across=False):
    return Posting(name, 0, record, kind, amount, NOW + timedelta(days=day), "test", across=across, order_id=name)


def balance(store, record, programme):
    return store.execute(
        "select coalesce(sum(amount), 0)::bigint from ledger_entries where account_id = %s",
        [account_id(record, programme)],
    ).fetchall()[0][0]


def test_the_same_fact_posts_once(store, programme):
    move(store, ("r1", A))
    for expected in (1, 0):
        with store.transaction():
            assert post(store, [posting("r1", 50, "once")], programme, NOW) == expected
    assert balance(store, "r1", programme) == 50


def test_a_debit_across_accounts_draws_from_the_oldest_lots_and_goes_into_deficit_if_need_be(store, programme):
    move(store, ("r1", A), ("r2", A))
    with store.transaction():
        post(
            store,
            [
                posting("r1", 30, "x1", 0),
                posting("r2", 40, "x2", 1),
                posting("r2", -50, "d1", 2, "redeem", across=True),
            ],
            programme,
            NOW,
        )
    assert (balance(store, "r1", programme), balance(store, "r2", programme)) == (0, 20)
    with store.transaction():
        post(store, [posting("r2", -50, "d2", 3, "redeem", across=True)], programme, NOW)
    assert (balance(store, "r1", programme), balance(store, "r2", programme)) == (0, -30)
    assert store.execute("select sum(amount) from ledger_deficits").fetchall() == [(30,)]


def test_a_merge_posts_nothing_and_a_split_undoes_it(store, programme):
    move(store, ("r1", A), ("r2", B))
    with store.transaction():
        post(store, [posting("r1", 30, "m1"), posting("r2", 40, "m2")], programme, NOW)
    entries = store.execute("select count(*) from ledger_entries").fetchall()
    move(store, ("r2", A))
    move(store, ("r2", B))
    assert store.execute("select count(*) from ledger_entries").fetchall() == entries
    assert (balance(store, "r1", programme), balance(store, "r2", programme)) == (30, 40)


def test_entries_cannot_be_changed(store, programme):
    move(store, ("r1", A))
    with store.transaction():
        post(store, [posting("r1", 30, "fixed")], programme, NOW)
    for attempt in ("update ledger_entries set amount = 1", "delete from ledger_entries"):
        with pytest.raises(psycopg.Error, match="append-only"):
            store.execute(attempt)


def test_twenty_at_once_post_one_fact_once_and_the_books_balance(workspace, store, programme):
    move(store, ("r1", A), ("r2", A))
    with store.transaction():
        post(store, [posting("r1", 100, "fund")], programme, NOW)
    written = []

    def spend(number):
        with connect(owner_address(workspace)) as mine, mine.transaction():
            written.append(
                post(mine, [posting("r2", -10, f"spend{number % 5}", 1, "redeem", across=True)], programme, NOW)
            )

    threads = [threading.Thread(target=spend, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == 5
    assert balance(store, "r1", programme) + balance(store, "r2", programme) == 50
    assert store.execute("select sum(remaining) from ledger_lots").fetchall() == [(50,)]


@pytest.fixture(scope="module")
def published(new_workspace):
    """Four people, each a customer, as a run left them."""
    workspace = new_workspace()
    lines = [
        '{"messageId": "m%d", "type": "identify", "userId": "u%d", "anonymousId": "b%d", "traits": {"email": "p%d@x.org"}, "timestamp": "2026-01-01T00:00:00Z"}'
        % (n, n, n, n)
        for n in (1, 2, 3, 4)
    ]
    workspace.path("landing", "web", "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    cdp(workspace, "run")
    return workspace


def test_a_merge_that_commits_while_publish_waits_for_its_customers_is_not_undone(published):
    """It began after everything was compared: only the look under the lock can see it."""
    with opened(published) as at:
        held = held_by(at.store)
        one, two, three = (held[f"web:user:u{n}"] for n in (1, 2, 3))
        at.store.execute("update profiles set row_hash = 'other'")  # so that each of them is to be written
        started = assignment.position(at.store)
        merged = threading.Event()

        def merge():
            with connect(owner_address(published)) as agent, agent.transaction():
                assignment.apply(agent, [Move("web:user:u2", one)], NOW, "agent", "steward")
                merged.set()
                waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                end = time.monotonic() + 20
                while not agent.execute(waits).fetchall()[0][0] and time.monotonic() < end:
                    time.sleep(0.02)

        steward = threading.Thread(target=merge, daemon=True)
        steward.start()
        assert merged.wait(10)
        seen(at.lake, started)
        done = publish.publish(at.lake, at.store, NOW, started)
        steward.join(10)
        assert {one, two} <= set(done.left_alone)
        assert held_by(at.store)["web:user:u2"] == one
        seen(at.lake, assignment.position(at.store))
        again = publish.publish(at.lake, at.store, NOW, assignment.position(at.store))
        assert again.left_alone == []
        ((written,),) = at.store.execute("select row_hash from profiles where customer_id = %s", [three]).fetchall()
        assert written != "other", "who was not concerned is published"


def test_a_customer_changed_online_while_a_run_is_in_progress_is_left_alone(published):
    with opened(published) as at:
        held = held_by(at.store)
        started = assignment.position(at.store)
        with at.store.transaction():  # an agent merges two people while the run computes
            assignment.apply(at.store, [Move("web:user:u4", held["web:user:u3"])], NOW, "agent", "steward")
        at.lake.rows("create or replace table memory.main.copied as from core__record_customers")
        build_table(
            at.lake,
            "core__record_customers",
            "test",
            lambda: at.lake.connection.execute("from copied").to_arrow_table(),
        )
        seen(at.lake, started)
        done = publish.publish(at.lake, at.store, NOW, started)
        assert set(done.left_alone) == {held["web:user:u3"], held["web:user:u4"]}
        assert held_by(at.store)["web:user:u4"] == held["web:user:u3"]
        seen(at.lake, started)  # a run that does the rest of one that died begins after the merge, and publishes what was made before it
        again = publish.publish(at.lake, at.store, NOW, assignment.position(at.store))
        assert set(again.left_alone) == set(done.left_alone)
        assert held_by(at.store)["web:user:u4"] == held["web:user:u3"]
        seen(at.lake, assignment.position(at.store))
        assert publish.publish(at.lake, at.store, NOW, assignment.position(at.store)).left_alone == []


def seen(lake, position):
    """As `stable` notes it."""
    lake.write(lambda: register.record(lake, assignment.SEEN, str(position)), "seen")


def test_a_batch_asks_for_moves_of_its_customers_alone(published):
    """A first publish moves every record: batch by batch through all that was moved so far, it would take the square of it."""
    read = "select coalesce(sum(idx_tup_fetch + seq_tup_read), 0) from pg_stat_xact_user_tables where relname = 'assignment_history'"
    with opened(published) as at, at.store.transaction(force_rollback=True):
        assignment.apply(at.store, [Move(f"pos:card:{n}", uuid7(NOW)) for n in range(2000)], NOW, "other", "test")
        at.store.execute("analyze assignment_history")
        customers = [row[0] for row in at.store.execute("select customer_id::text from assignment_history where run_id = 'other' limit 3")]
        at.lake.rows("create or replace table memory.main.batches as select unnest(?) as customer_id, 0 as batch", [customers])
        before = at.store.execute(read).fetchone()[0]
        assert publish._changed_meanwhile(at.lake, at.store, 0, 0) == sorted(customers)
        assert at.store.execute(read).fetchone()[0] - before < 100


def test_rows_that_are_gone_are_deleted_by_their_keys_index(store):
    """One by one by a scan of the table, a run after a change of many customers would take the product of the two."""
    scans = "select coalesce(sum(seq_scan), 0) from pg_stat_xact_user_tables where relname = %s"
    with store.transaction():
        store.execute("set local enable_seqscan = off")  # these tables are small: the planner would not look at an index
        for table in SERVED:
            gone = pl.DataFrame([{key: str(uuid7(NOW)) for key in table.key}])
            before = store.execute(scans, [table.name]).fetchone()[0]
            publish._delete(store, table, gone)
            assert store.execute(scans, [table.name]).fetchone()[0] == before, table.name


def test_served_tables_have_the_columns_that_are_published(store):
    for table in SERVED:
        found = {
            row[0]
            for row in store.execute(
                "select column_name from information_schema.columns where table_schema = 'store' and table_name = %s",
                [table.name],
            )
        }
        assert {*table.columns, "row_hash"} == found


def test_many_rows_are_copied_as_they_stand(store):
    """Nothing and nothing said, quotes, line ends, Chinese, times of any session: as a cursor would give them."""
    columns = {"name": TEXT, "amount": NUMBER, "is_open": FLAG, "at": TIME, "said": TEXT}
    query = """
        select * from (values
            ('a', 9007199254740993::bigint, true, timestamptz '2026-05-01 09:00:00.123456+02', null),
            ('', null, null, null, E'x"y\\n,z \\\\N'),
            (null, -3, false, '1890-01-01 00:00+00', ''),
            ('张伟', 0, null, '2026-05-01 09:00:00+00', 'NULL')
        ) as v where column2 is distinct from %s
    """
    store.execute("set timezone = 'Asia/Shanghai'")
    plain = store.execute(query, [0]).fetchall()
    found = copied(store, query, columns, [0])
    assert [tuple(row.values()) for row in found.to_pylist()] == plain
    assert len(plain) == 3
    nothing = copied(store, f"{query} and false", columns, [0])
    assert (len(nothing), nothing.schema) == (0, found.schema)
