"""Spending, setting aside, reversing, correcting: what is allowed, what is refused, and that merge and split post nothing."""

import contextlib
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cdp.errors import NotFound
from cdp.loyalty import holding, operations
from cdp.loyalty.groups import Posting, locked
from cdp.loyalty.operations import Act, Insufficient, Refused
from cdp.loyalty.posting import post
from cdp.loyalty.programme import load_programme
from cdp.store import assignment
from cdp.store.connect import connect, owner_address
from identity.ids import uuid7
from tests.cdp.test_ledger import UNBALANCED
from tests.conftest import NOW


@pytest.fixture(scope="module")
def store(workspace):
    with connect(owner_address(workspace)) as connection:
        yield connection


@pytest.fixture(scope="module")
def programme(workspace):
    return load_programme(workspace)


class Desk:
    """A customer's records and a clock: operations as a channel would call them, each in a transaction of its own."""

    def __init__(self, store, programme, records=2):
        self.store, self.programme, self.now = store, programme, NOW
        name = uuid4().hex[:8]
        self.records = [f"r{name}:{n}" for n in range(records)]
        self.move(self.records, uuid7(NOW))

    def move(self, records, customer):
        with self.store.transaction():
            assignment.apply(self.store, [assignment.Move(r, customer) for r in records], self.now, "test", "test")

    def act(self):
        self.now += timedelta(seconds=1)
        return Act(self.programme, "key:till", self.now, "test")

    def earn(self, amount, who=0, ends=None, order=None):
        act, key = self.act(), f"earn|{uuid4()}"
        ends = ends and act.now + timedelta(days=ends)
        posting = Posting(key, 0, self.records[who], "earn", amount, act.now, "test", order, expires_at=ends)
        with self.store.transaction():
            post(self.store, [posting], self.programme, act.now)
        return posting.transaction_id

    def redeem(self, amount, who=0, transaction=None):
        with self.store.transaction():
            return operations.redeem(self.store, self.records[who], amount, self.act(), transaction or str(uuid4()))

    def hold(self, amount, who=0, minutes=30, hold_id=None):
        hold_id = hold_id or str(uuid4())
        with self.store.transaction():
            holding.hold(self.store, self.records[who], amount, self.act(), hold_id, minutes)
        return hold_id

    def capture(self, hold_id, amount=None):
        with self.store.transaction():
            return holding.capture(self.store, hold_id, amount, self.act())

    def void(self, hold_id):
        with self.store.transaction():
            return holding.void(self.store, hold_id, self.act())

    def reverse(self, transaction):
        with self.store.transaction():
            return operations.reverse(self.store, transaction, self.act())

    def stands(self, who=0):
        with self.store.transaction():
            act = self.act()
            return operations.standing(
                self.store, locked(self.store, [self.records[who]], self.programme, act.now)[self.records[who]], act
            )


@pytest.fixture
def desk(store, programme):
    found = Desk(store, programme)
    yield found
    assert store.execute(UNBALANCED).fetchall() == [(0,)]


def test_points_earned_by_one_record_are_spent_by_another_and_never_more_than_there_are(desk):
    desk.earn(100, 0)
    done = desk.redeem(70, 1)
    assert (done.amount, done.standing.balance, done.standing.available) == (-70, 30, 30)
    assert desk.stands(0).balance == 30
    with pytest.raises(Insufficient, match="30 are available, 31 are needed"):
        desk.redeem(31)
    assert desk.stands().balance == 30


def test_the_same_id_spends_once_and_another_use_of_it_is_refused(desk):
    desk.earn(100)
    name = str(uuid4())
    first, again = desk.redeem(60, transaction=name), desk.redeem(60, transaction=name)
    assert (again.transaction_id, again.standing) == (first.transaction_id, first.standing)
    with pytest.raises(Refused, match="used for something else"):
        desk.redeem(10, transaction=name)


def test_every_change_gives_another_version(desk):
    seen = [desk.stands().version]
    for step in (lambda: desk.earn(100), lambda: desk.redeem(10), lambda: desk.hold(5), lambda: desk.earn(1, 1)):
        step()
        seen.append(desk.stands().version)
    assert len(set(seen)) == len(seen)
    assert desk.stands().version == seen[-1]


def test_what_is_set_aside_cannot_be_spent_and_comes_back_by_time_alone(desk):
    desk.earn(100)
    desk.hold(80, minutes=30)
    stands = desk.stands(1)
    assert (stands.balance, stands.held, stands.available) == (100, 80, 20)
    with pytest.raises(Insufficient, match="20 are available, 30 are needed, 80 of 100 are set aside"):
        desk.redeem(30)
    with pytest.raises(Insufficient):
        desk.hold(21)
    desk.now += timedelta(minutes=31)
    assert desk.stands().available == 100


def test_a_hold_is_captured_once_in_part_and_the_rest_returns(desk):
    desk.earn(100)
    name = desk.hold(80)
    done = desk.capture(name, 50)
    assert (done.amount, done.standing.balance, done.standing.held, done.standing.available) == (-50, 50, 0, 50)
    assert desk.capture(name, 50).standing.balance == 50, "the same again is answered, not done"
    with pytest.raises(Refused, match="was captured before"):
        desk.capture(name, 60)
    with pytest.raises(Refused, match="was captured before"):
        desk.void(name)


def test_more_than_was_set_aside_or_too_late_is_refused(desk):
    desk.earn(100)
    name = desk.hold(50)
    with pytest.raises(Refused, match="50 were set aside, not 51"):
        desk.capture(name, 51)
    desk.now += timedelta(hours=1)
    with pytest.raises(Refused, match="ended at"):
        desk.capture(name)
    with pytest.raises(NotFound):
        desk.capture(str(uuid4()))


def test_a_voided_hold_frees_its_points(desk):
    desk.earn(100)
    name = desk.hold(100)
    assert desk.void(name).available == 100
    assert desk.void(name).available == 100
    with pytest.raises(Refused, match="was voided before"):
        desk.capture(name)


def test_points_set_aside_before_their_end_may_be_spent_after_it(desk):
    desk.earn(100, ends=1)
    desk.now += timedelta(hours=23, minutes=50)
    name = desk.hold(60, minutes=60)
    desk.now += timedelta(minutes=30)
    desk.earn(5)  # posts the expiry of what was left
    assert desk.capture(name).amount == -60
    assert desk.stands().balance == 5


def test_points_end_by_time_without_any_job(desk):
    desk.earn(100, ends=1)
    desk.now += timedelta(days=2)
    assert desk.stands().balance == 0
    with pytest.raises(Insufficient):
        desk.redeem(1)


def test_a_reversed_redemption_returns_to_its_lots_and_keeps_their_end(desk, store):
    desk.earn(60, 0, ends=10)
    desk.earn(60, 1)
    spent = desk.redeem(100)
    done = desk.reverse(spent.transaction_id)
    assert done.standing.balance == 120
    ends = store.execute("select sum(remaining) from ledger_lots join ledger_accounts using (account_id) where record_id = %s and expires_at is not null", [desk.records[0]])  # fmt: skip
    assert ends.fetchall() == [(60,)], "a redeem and its reversal do not refresh what was about to end"
    with pytest.raises(Refused, match="reversed before"):
        desk.reverse(spent.transaction_id)
    with pytest.raises(Refused, match="cannot be reversed"):
        desk.reverse(done.transaction_id)
    with pytest.raises(NotFound):
        desk.reverse(str(uuid4()))


def test_a_reversed_credit_is_taken_from_its_own_lot_first_into_deficit_if_need_be(desk, store):
    first, _ = desk.earn(50), desk.earn(50)
    desk.redeem(30)
    assert desk.reverse(first).standing.balance == 20
    assert store.execute("select remaining from ledger_lots where transaction_id = %s", [first]).fetchall() == [(0,)]
    desk.redeem(20)
    assert desk.reverse(desk.earn(5)).standing.balance == 0


def test_a_correction_adds_or_takes_what_is_available(desk):
    with desk.store.transaction():
        assert operations.adjust(desk.store, desk.records[0], 40, desk.act(), str(uuid4())).standing.balance == 40
    with desk.store.transaction():
        assert operations.adjust(desk.store, desk.records[1], -30, desk.act(), str(uuid4())).standing.balance == 10
    with pytest.raises(Insufficient), desk.store.transaction():
        operations.adjust(desk.store, desk.records[0], -11, desk.act(), str(uuid4()))


def test_a_merge_adds_balances_posts_nothing_and_a_split_gives_back_exactly_what_was(desk, store):
    other = Desk(store, desk.programme, 1)
    desk.earn(100)
    other.earn(40)
    before = store.execute("select count(*) from ledger_entries").fetchall()
    home = store.execute("select customer_id::text from assignment where record_id = %s", [desk.records[0]]).fetchall()[
        0
    ][0]
    was = store.execute("select customer_id::text from assignment where record_id = %s", other.records).fetchall()[0][0]
    stood = desk.stands(), other.stands()
    desk.move(other.records, home)
    assert desk.stands().balance == other.stands().balance == 140
    assert desk.stands().version not in {stand.version for stand in stood}
    desk.move(other.records, was)
    assert (desk.stands(), other.stands()) == stood
    assert store.execute("select count(*) from ledger_entries").fetchall() == before


def test_what_was_spent_while_merged_stays_where_it_was_drawn_after_a_split(desk, store):
    other = Desk(store, desk.programme, 1)
    desk.earn(30)
    other.now = desk.now
    other.earn(100)
    home = store.execute("select customer_id::text from assignment where record_id = %s", [desk.records[0]]).fetchall()[
        0
    ][0]
    was = store.execute("select customer_id::text from assignment where record_id = %s", other.records).fetchall()[0][0]
    desk.move(other.records, home)
    desk.now += timedelta(minutes=1)
    spent = desk.redeem(80)
    desk.move(other.records, was)
    assert (desk.stands().balance, other.stands().balance) == (0, 50)
    late = Posting(f"late|{uuid4()}", 0, desk.records[0], "earn", 1000, NOW, "late")
    with store.transaction():
        post(store, [late], desk.programme, desk.act().now)
    assert (desk.stands().balance, other.stands().balance) == (1000, 50), (
        "a late fact of one moves nothing of the other"
    )
    with pytest.raises(Refused, match="apart now"):
        desk.reverse(spent.transaction_id)


def test_what_follows_from_an_order_is_not_reversed_but_a_channels_redemption_for_one_is(desk, store):
    programme = desk.programme
    desk.earn(100)
    act, key = desk.act(), f"{programme.programme}|{programme.unit}|pos:T9|earn"
    order = Posting(key, 0, desk.records[0], "earn", 20, act.now, "spend", order_id="pos:T9")
    with store.transaction():
        post(store, [order], programme, act.now)
    with pytest.raises(Refused, match="follows from an order"):
        desk.reverse(order.transaction_id)
    with store.transaction():
        done = operations.redeem(store, desk.records[1], 30, desk.act(), str(uuid4()), "pos:T9")
    key = store.execute(
        "select distinct posting_key from ledger_entries where transaction_id = %s", [done.transaction_id]
    ).fetchall()
    assert key == [(f"{programme.programme}|{programme.unit}|pos:T9|redeem",)], (
        "its file is not charged again, its return gives it back"
    )
    assert desk.reverse(done.transaction_id).standing.balance == 120


def test_an_id_of_another_customer_is_refused(desk, store):
    other, name = Desk(store, desk.programme, 1), str(uuid4())
    desk.earn(50)
    other.earn(50)
    desk.redeem(10, transaction=name)
    with pytest.raises(Refused, match="used for something else"):
        other.redeem(10, transaction=name)


def test_what_another_clock_a_little_ahead_made_available_can_be_spent(desk, store):
    ahead = Posting(f"ahead|{uuid4()}", 0, desk.records[1], "earn", 100, desk.now + timedelta(minutes=4), "sale")
    with store.transaction():
        post(store, [ahead], desk.programme, desk.now)
    desk.redeem(60, 0)
    owed = "select count(*) from ledger_deficits join ledger_accounts using (account_id) where record_id = any(%s)"
    assert store.execute(owed, [desk.records]).fetchall() == [(0,)]


class Life(RuleBasedStateMachine):
    """Two customers of three records live through everything that can happen; the books hold after every step."""

    store, programme = None, None
    spent, holds, earned = Bundle("spent"), Bundle("holds"), Bundle("earned")

    def __init__(self):
        super().__init__()
        self.desk = Desk(self.store, self.programme, 3)
        self.home = [uuid7(NOW + timedelta(seconds=n)) for n in range(2)]
        self.desk.move(self.desk.records, self.home[0])
        self.total = 0

    @rule(target=earned, who=st.integers(0, 2), amount=st.integers(1, 100), ends=st.sampled_from([None, None, 1, 5]))
    def earns(self, who, amount, ends):
        return self.desk.earn(amount, who, ends)

    @rule(who=st.integers(0, 2), amount=st.integers(1, 60), days=st.integers(0, 4), debit=st.booleans())
    def something_comes_late(self, who, amount, days, debit):
        act = self.desk.act()
        posting = Posting(f"late|{uuid4()}", 0, self.desk.records[who], "adjust", -amount if debit else amount,
                          act.now - timedelta(days=days), "late", across=debit)  # fmt: skip
        with self.store.transaction():
            post(self.store, [posting], self.programme, act.now)

    @rule(target=spent, who=st.integers(0, 2), amount=st.integers(1, 80))
    def spends(self, who, amount):
        available = self.desk.stands(who).available
        try:
            done = self.desk.redeem(amount, who)
        except Insufficient:
            assert available < amount
            return None
        assert amount <= available
        return done.transaction_id

    @rule(name=consumes(spent))
    def takes_back(self, name):
        if name:
            with contextlib.suppress(Refused):  # drawn from customers who are apart now
                self.desk.reverse(name)

    @rule(name=consumes(earned))
    def is_taken_back(self, name):
        self.desk.reverse(name)

    @rule(target=holds, who=st.integers(0, 2), amount=st.integers(1, 50))
    def sets_aside(self, who, amount):
        try:
            return self.desk.hold(amount, who)
        except Insufficient:
            return None

    @rule(name=consumes(holds), amount=st.integers(1, 50), give_up=st.booleans())
    def ends_a_hold(self, name, amount, give_up):
        if name:
            with contextlib.suppress(Refused):
                self.desk.void(name) if give_up else self.desk.capture(name, amount)

    @rule(days=st.integers(1, 3))
    def time_passes(self, days):
        self.desk.now += timedelta(days=days)

    @rule(who=st.integers(0, 2), where=st.integers(0, 1))
    def merge_or_split(self, who, where):
        before = self.sums()
        self.desk.move([self.desk.records[who]], self.home[where])
        assert self.sums() == before, "an assignment posts nothing"

    @rule()
    def dies_in_the_middle(self):
        before = self.sums()
        act = self.desk.act()
        dying = Posting(f"x|{uuid4()}", 0, self.desk.records[0], "earn", 9, act.now, "dies")

        def half():
            with self.store.transaction():
                post(self.store, [dying], self.programme, act.now)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            half()
        assert self.sums() == before

    def sums(self):
        mine = [self.desk.records]
        return self.store.execute(
            "select a.record_id, coalesce(sum(e.amount), 0)::bigint from ledger_accounts a left join ledger_entries e using (account_id) "
            "where a.record_id = any(%s) group by 1 order by 1", mine,
        ).fetchall()  # fmt: skip

    @invariant()
    def the_books_hold(self):
        assert self.store.execute(UNBALANCED).fetchall() == [(0,)]

    @invariant()
    def a_customer_stands_on_all_its_records(self):
        homes = self.store.execute("select customer_id, array_agg(record_id) from assignment where record_id = any(%s) group by 1", [self.desk.records]).fetchall()  # fmt: skip
        for _, records in homes:
            stands = [self.desk.stands(self.desk.records.index(record)) for record in records]
            assert len({(stand.balance, stand.held, stand.available) for stand in stands}) == 1
            open_lots = self.store.execute(
                "select coalesce(sum(remaining) filter (where expires_at is null or greatest(expires_at, l.opened_at) > %s), 0)::bigint from ledger_lots l "
                "join ledger_accounts using (account_id) where record_id = any(%s)", [self.desk.now, records],
            ).fetchall()[0][0]  # fmt: skip
            owed = self.store.execute("select coalesce(sum(d.amount), 0)::bigint from ledger_deficits d join ledger_accounts using (account_id) where record_id = any(%s)", [records]).fetchall()[0][0]  # fmt: skip
            assert stands[0].balance == open_lots - owed


def test_whatever_happens_the_books_hold_after_every_step(store, programme):
    Life.store, Life.programme = store, programme
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_debit_that_reads_only_what_it_draws_from_draws_as_if_it_had_read_all(desk):
    ends = [25, None, 3, 17, 9, None, 40, 1, 12, 30]
    for days in ends:
        desk.earn(10, who=days is None, ends=days)
    desk.now += timedelta(days=2)  # one has ended and is not written off yet
    assert (done := desk.redeem(35)).standing.balance == 55
    left = desk.store.execute(
        "select remaining from ledger_lots join ledger_accounts using (account_id) where record_id = any(%s) "
        "order by coalesce(expires_at, 'infinity'), occurred_at", [desk.records],
    ).fetchall()  # fmt: skip
    assert [n for (n,) in left] == [0, 0, 0, 0, 5, 10, 10, 10, 10, 10]
    assert desk.stands().balance == done.standing.balance == 55
    assert desk.redeem(55, who=1).standing.balance == 0
