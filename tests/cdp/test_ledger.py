"""The ledger in PostgreSQL: whatever the order in which facts arrive, its rows are those of all facts in order of time."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import ledger as benchmark
from cdp.loyalty import reconcile
from cdp.loyalty.groups import Posting, account_id
from cdp.loyalty.lots import Fact, derive
from cdp.loyalty.posting import post
from cdp.loyalty.programme import load_programme
from cdp.store import assignment
from cdp.store.connect import connect, owner_address
from identity.ids import uuid7
from tests.conftest import NOW

LATER = NOW + timedelta(days=365)
NUMBERS = itertools.count()
UNBALANCED = """
    select count(*) from ledger_accounts a where not (
        balance = (select coalesce(sum(amount), 0) from ledger_entries e where e.account_id = a.account_id)
        and balance = (select coalesce(sum(remaining), 0) from ledger_lots l where l.account_id = a.account_id)
            - (select coalesce(sum(amount), 0) from ledger_deficits d where d.account_id = a.account_id)
    ) or exists (
        select 1 from ledger_lots l where l.account_id = a.account_id
        and l.amount <> l.remaining + (select coalesce(sum(amount), 0) from ledger_allocations x where x.lot_id = l.lot_id)
    )
"""


@pytest.fixture(scope="module")
def store(workspace):
    with connect(owner_address(workspace)) as connection:
        yield connection


@pytest.fixture(scope="module")
def programme(workspace):
    return load_programme(workspace)


def customer(store, records):
    """A new customer of these records."""
    name = uuid7(NOW)
    with store.transaction():
        assignment.apply(store, [assignment.Move(record, name) for record in records], NOW, "test", "test")
    return name


def test_a_posting_reads_its_customer_and_not_all_there_are(store):
    """Row by row, whatever the number of customers: at a million of them a scan would take a second of every sale."""
    one = [f"pos:card:{next(NUMBERS)}" for _ in range(2)]
    customer(store, one)
    for _ in range(300):
        customer(store, [f"pos:card:{next(NUMBERS)}"])
    read = "select coalesce(sum(idx_tup_fetch + seq_tup_read), 0) from pg_stat_xact_user_tables where relname in ('customers', 'assignment')"
    with store.transaction():
        before = store.execute(read).fetchone()[0]
        store.execute("select * from store.ledger_open(%s, 'default', 'points', now(), '{}'::uuid[], 10)", [one[:1]])
        assert store.execute(read).fetchone()[0] - before < 50


@st.composite
def posted(draw):
    """(which of three records, amount, day, order, across, what it reverses, days until it ends)."""
    amount = draw(st.integers(-200, 200).filter(bool))
    reverses = draw(st.integers(0, 11)) if amount > 0 and draw(st.integers(0, 3)) == 0 else None
    return (draw(st.integers(0, 2)), amount, draw(st.integers(0, 40)), draw(st.sampled_from([None, "o1", "o2"])), draw(st.booleans()),
            reverses, draw(st.sampled_from([None, None, 1, 10, 30])))  # fmt: skip


def made(row, number, prefix):
    who, amount, day, order, across, reverses, ends = row
    at = NOW + timedelta(days=day, minutes=number)
    return Posting(
        f"{prefix}k{number}", 0, f"{prefix}{who}", "restore" if reverses is not None else "earn" if amount > 0 else "adjust", amount, at, "test",
        order_id=order, across=across and amount < 0, reverses=None if reverses is None else f"{prefix}k{reverses}",
        expires_at=None if ends is None or amount < 0 else at + timedelta(days=ends),
    )  # fmt: skip


def as_fact(posting, records, programme):
    own = account_id(posting.record_id, programme)
    others = [account_id(r, programme) for r in records if r != posting.record_id]
    wide = posting.across or posting.reverses is not None
    return Fact(posting.transaction_id, posting.key, own, posting.amount, posting.occurred_at, posting.order_id, (own, *others) if wide else (own,),
                posting.expires_at, posting.reverses)  # fmt: skip


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(st.lists(posted(), min_size=1, max_size=12), st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_order_of_arrival_ends_in_the_same_legs_lots_and_deficits(store, programme, rows, random, batches):
    prefix = f"t{next(NUMBERS)}:"
    records = [f"{prefix}{who}" for who in range(3)]
    customer(store, records)
    postings = [made(row, number, prefix) for number, row in enumerate(rows)]
    arriving = list(postings)
    random.shuffle(arriving)
    for number in range(batches):
        with store.transaction():
            post(store, arriving[number::batches], programme, LATER)
        with store.transaction():
            assert post(store, arriving[number::batches], programme, LATER) == 0, "the same facts again post nothing"
    wanted = derive([as_fact(p, records, programme) for p in postings], LATER)
    mine = [[account_id(record, programme) for record in records]]
    legs = store.execute(
        "select transaction_id::text, account_id, sum(amount)::bigint from ledger_entries where account_id = any(%s) group by 1, 2 having sum(amount) <> 0", mine
    ).fetchall()  # fmt: skip
    assert {(t, a): n for t, a, n in legs} == {key: n for key, n in wanted.legs.items() if n}
    lots = store.execute("select lot_id::text, remaining from ledger_lots where account_id = any(%s)", mine).fetchall()
    assert dict(lots) == {name: lot.remaining for name, lot in wanted.lots.items()}
    owed = store.execute(
        "select transaction_id::text, account_id, amount from ledger_deficits where account_id = any(%s)", mine
    ).fetchall()
    assert {(t, a): n for t, a, n in owed} == wanted.deficits
    assert store.execute(UNBALANCED).fetchall() == [(0,)]


def test_a_return_that_comes_before_its_redemption_gives_back_to_the_lots_once_it_is_there(store, programme):
    """The order's file is late: what was a plain credit becomes what it always was."""
    prefix = f"early{next(NUMBERS)}:"
    records = [f"{prefix}{n}" for n in range(2)]
    customer(store, records)
    lot = Posting(f"{prefix}lot", 0, records[1], "earn", 100, NOW, "test", expires_at=NOW + timedelta(days=90))
    back = Posting(
        f"{prefix}back", 0, records[0], "restore", 30, NOW + timedelta(days=2), "return", reverses=f"{prefix}spent"
    )
    spent = Posting(f"{prefix}spent", 0, records[0], "redeem", -30, NOW + timedelta(days=3), "till", across=True)
    for posting in (lot, back, spent):
        with store.transaction():
            post(store, [posting], programme, NOW + timedelta(days=4))
    rows = store.execute("select record_id, remaining, expires_at from ledger_lots join ledger_accounts using (account_id) where record_id = any(%s) and remaining > 0", [records])  # fmt: skip
    assert sorted(rows.fetchall()) == [
        (records[1], 30, NOW + timedelta(days=90)),
        (records[1], 70, NOW + timedelta(days=90)),
    ]
    assert store.execute(UNBALANCED).fetchall() == [(0,)]


def test_what_has_ended_is_written_off_once_a_night(store, programme):
    record = f"ends{next(NUMBERS)}:0"
    customer(store, [record])
    lot = Posting(f"{record}|e", 0, record, "earn", 70, NOW, "test", expires_at=NOW + timedelta(days=1))
    with store.transaction():
        post(store, [lot], programme, NOW)
    assert reconcile.expire(store, programme, NOW + timedelta(hours=23)) == 0
    assert reconcile.expire(store, programme, NOW + timedelta(days=1)) == 1
    assert reconcile.expire(store, programme, NOW + timedelta(days=2)) == 0
    rows = store.execute("select kind, amount, contra, actor, occurred_at from ledger_entries where account_id = %s and amount < 0", [account_id(record, programme)])  # fmt: skip
    assert rows.fetchall() == [("expire", -70, "expired", "clock", NOW + timedelta(days=1))]


def test_derived_rows_that_do_not_add_up_are_made_again_from_the_entries(store, programme):
    record, told = f"broken{next(NUMBERS)}:0", []
    customer(store, [record])
    with store.transaction():
        post(store, [Posting(f"{record}|e", 0, record, "earn", 70, NOW, "test")], programme, NOW)
        post(
            store,
            [Posting(f"{record}|s", 0, record, "redeem", -20, NOW + timedelta(days=1), "test", across=True)],
            programme,
            NOW,
        )
    before = store.execute(
        "select * from ledger_lots where account_id = %s", [account_id(record, programme)]
    ).fetchall()
    store.execute("update ledger_lots set remaining = 1 where account_id = %s", [account_id(record, programme)])
    store.execute("update ledger_accounts set balance = 999 where record_id = %s", [record])
    assert reconcile.mend(store, programme, LATER, told.append) == reconcile.Reconciled(1, 0)
    assert len(told) == 1
    assert (
        store.execute("select * from ledger_lots where account_id = %s", [account_id(record, programme)]).fetchall()
        == before
    )
    assert reconcile.mend(store, programme, LATER, told.append) == reconcile.Reconciled(0, 0)
    assert store.execute(UNBALANCED).fetchall() == [(0,)]


def test_two_processes_race_for_one_balance(workspace):
    """A small version of `python -m benchmarks.ledger race`."""
    done = benchmark.race(workspace, rounds=1, processes=2, threads=30)
    assert (done["won"], done["told why"], done["wrong"]) == (42, 18, 0)


def test_the_books_hold_through_a_long_random_life(workspace):
    """A small version of `python -m benchmarks.ledger life`."""
    done = benchmark.life(workspace, 600, 3)
    assert done["wrong"] == 0
    assert done["done"].keys() >= {
        "earn",
        "late",
        "redeem",
        "give back",
        "take back",
        "hold",
        "capture",
        "move",
        "crash",
    }
