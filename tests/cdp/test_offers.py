"""Rewards, coupons, benefits, plans that are shared, pools: what is allowed, what is refused, and who gets the last one."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from benchmarks import offers as bench
from cdp.errors import NotFound
from cdp.loyalty import circles, holding, offers, operations, subscriptions
from cdp.loyalty.entitlements import birthday_window, entitlements
from cdp.loyalty.giving import Benefit
from cdp.loyalty.groups import Posting
from cdp.loyalty.operations import Act, Insufficient, Refused
from cdp.loyalty.plans import PlanEvent, membership, refundable
from cdp.loyalty.posting import post
from cdp.loyalty.programme import Programme
from cdp.store import assignment, books
from cdp.store.connect import connect, owner_address
from identity.ids import uuid7
from tests.cdp.test_ledger import UNBALANCED
from tests.conftest import NOW


def programme(**more):
    return Programme.model_validate(
        {
            "programme": f"p{uuid4().hex[:8]}", "version": "1", "currency": "EUR", "units": [{"code": "pt"}, {"code": "gem"}],
            "measures": [{"code": "m", "unit": "pt"}],
            "ladders": [{"code": "l", "measure": "m", "levels": [{"code": "low", "enter_at": 0, "benefits": ["bday"]}, {"code": "high", "enter_at": 100, "benefits": ["lounge", "bday"]}]}],
            "benefits": [{"code": "lounge", "kind": "service", "quota": {"times": 2, "per": "P1M"}}, {"code": "bday", "kind": "birthday", "window": "P7D"},
                         {"code": "ship", "kind": "free_shipping"}],
            "rewards": [{"code": "mug", "cost": {"pt": 40}, "stock": 3}, {"code": "last", "cost": {"pt": 1}, "stock": 1}, {"code": "crown", "cost": {"pt": 10}, "min_level": "high"},
                        {"code": "hello", "cost": {"pt": 5}, "once": True}, {"code": "both", "cost": {"pt": 10, "gem": 2}}],
            "coupons": [{"code": "ten", "value": "10%", "budget": 100, "per_customer": 2}, {"code": "vip", "value": "20%", "min_level": "high"}],
            "plans": [{"code": "year", "price": "60.00", "every": "P1Y", "trial": "P14D", "benefits": ["ship"], "share_with": 1, "refund": "prorata"}],
            "household": {"mode": "share_benefits", "max_members": 3}, **more,
        }
    )  # fmt: skip


class Shop:
    """Customers of one programme, each of one record, at one clock."""

    def __init__(self, workspace, rules):
        self.workspace, self.rules, self.now = workspace, rules, NOW
        self.store = connect(owner_address(workspace)).__enter__()

    def customer(self, points=0, gems=0, records=1):
        names = [f"r{uuid4().hex[:12]}:{n}" for n in range(records)]
        self.move(names, uuid7(NOW))
        for unit, amount in (("pt", points), ("gem", gems)):
            if amount:
                self.give(names[0], amount, unit)
        return names[0] if records == 1 else names

    def move(self, records, customer):
        with self.store.transaction():
            assignment.apply(self.store, [assignment.Move(r, customer) for r in records], self.now, "test", "test")

    def give(self, record, amount, unit="pt"):
        posting = Posting(f"give|{uuid4()}", 0, record, "earn", amount, self.now, "test", unit=unit)
        with self.store.transaction():
            post(self.store, [posting], self.rules, self.now)

    def act(self, seconds=1):
        self.now += timedelta(seconds=seconds)
        return Act(self.rules, "key:shop", self.now, "test")

    def do(self, what, *given, store=None, **more):
        store = store or self.store
        with store.transaction():
            return what(store, *given, **more)

    def balance(self, record, unit="pt"):
        customer = assignment.customer(self.store, [record])
        return operations.read(self.store, customer, Act(self.rules.of(unit), "x", self.now, "x"))[1]


@pytest.fixture
def shop(workspace):
    found = Shop(workspace, programme())
    yield found
    assert found.store.execute(UNBALANCED).fetchall() == [(0,)]
    found.store.close()


def test_a_reward_costs_units_and_stock_and_gives_both_back(shop):
    record, name = shop.customer(100), str(uuid4())
    shop.do(offers.take_reward, record, "mug", shop.act(), name)
    assert shop.balance(record).balance == 60
    again = shop.do(offers.take_reward, record, "mug", shop.act(), name)
    assert (again.grant["grant_id"], shop.balance(record).balance) == (name, 60), "the same id takes once"
    shop.do(offers.undo, name, shop.act())
    assert shop.balance(record).balance == 100
    with pytest.raises(Refused, match="taken back before"):
        shop.do(offers.undo, name, shop.act())
    for _ in range(2):
        shop.do(offers.take_reward, record, "mug", shop.act(), str(uuid4()))
    with pytest.raises(Insufficient, match="20 are available, 40 are needed"):
        shop.do(offers.take_reward, record, "mug", shop.act(), str(uuid4()))
    other = shop.customer(100)
    shop.do(offers.take_reward, other, "mug", shop.act(), str(uuid4()))  # what was refused took no stock
    with pytest.raises(offers.Gone, match="this reward is gone"):
        shop.do(offers.take_reward, other, "mug", shop.act(), str(uuid4()))
    with pytest.raises(NotFound):
        shop.do(offers.take_reward, other, "hat", shop.act(), str(uuid4()))


def test_a_reward_may_cost_two_units_and_takes_both_or_none(shop):
    record = shop.customer(10, gems=1)
    with pytest.raises(Insufficient, match="1 are available, 2 are needed"):
        shop.do(offers.take_reward, record, "both", shop.act(), str(uuid4()))
    assert shop.balance(record).balance == 10
    shop.give(record, 1, "gem")
    shop.do(offers.take_reward, record, "both", shop.act(), name := str(uuid4()))
    assert (shop.balance(record).balance, shop.balance(record, "gem").balance) == (0, 0)
    shop.do(offers.undo, name, shop.act())
    assert (shop.balance(record).balance, shop.balance(record, "gem").balance) == (10, 2)


def test_levels_and_once_are_looked_at_over_the_whole_customer(shop):
    one, two = shop.customer(records=2)
    shop.give(one, 60)
    with pytest.raises(Refused, match="this is for high and above"):
        shop.do(offers.take_reward, one, "crown", shop.act(), str(uuid4()))
    shop.give(two, 60)
    shop.do(offers.take_reward, one, "crown", shop.act(), str(uuid4()))
    shop.do(offers.take_reward, one, "hello", shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="once to a customer"):
        shop.do(offers.take_reward, two, "hello", shop.act(), str(uuid4()))


def test_a_coupon_is_issued_used_for_one_order_and_usable_again_when_that_is_undone(shop):
    record = shop.customer()
    made = shop.do(offers.issue_coupon, record, "ten", shop.act(), str(uuid4()))
    assert len(made["code"]) == 16
    assert made["expires_at"] == shop.now + timedelta(days=30)
    typed = f" {made['code'][:4]}-{made['code'][4:].lower()} "
    used = shop.do(offers.redeem_coupon, typed, "pos:1", shop.act())
    assert used["order_id"] == "pos:1"
    assert shop.do(offers.redeem_coupon, typed, "pos:1", shop.act())["used_at"] == used["used_at"], "a retry"
    with pytest.raises(Refused, match="used before"):
        shop.do(offers.redeem_coupon, typed, "pos:2", shop.act())
    shop.do(offers.undo, made["grant_id"], shop.act())
    assert shop.do(offers.redeem_coupon, typed, "pos:2", shop.act())["order_id"] == "pos:2"
    shop.do(offers.issue_coupon, record, "ten", shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="2 times to a customer at most"):
        shop.do(offers.issue_coupon, record, "ten", shop.act(), str(uuid4()))
    with pytest.raises(NotFound, match="no coupon has this code"):
        shop.do(offers.redeem_coupon, "0000000000000000", "pos:3", shop.act())
    with pytest.raises(Refused, match="for high and above"):
        shop.do(offers.issue_coupon, record, "vip", shop.act(), str(uuid4()))


def test_a_coupon_ends(shop):
    made = shop.do(offers.issue_coupon, shop.customer(), "ten", shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="this coupon ended"):
        shop.do(offers.redeem_coupon, made["code"], "pos:1", shop.act(30 * 86400))


def test_an_unused_coupon_that_is_taken_back_frees_the_budget(workspace):
    shop = Shop(workspace, programme(coupons=[{"code": "one", "value": "1", "budget": 1}]))
    made = shop.do(offers.issue_coupon, shop.customer(), "one", shop.act(), str(uuid4()))
    with pytest.raises(offers.Gone):
        shop.do(offers.issue_coupon, shop.customer(), "one", shop.act(), str(uuid4()))
    shop.do(offers.undo, made["grant_id"], shop.act())
    with pytest.raises(Refused, match="taken back"):
        shop.do(offers.redeem_coupon, made["code"], "pos:1", shop.act())
    shop.do(offers.issue_coupon, shop.customer(), "one", shop.act(), str(uuid4()))


def race(shop, threads, work):
    """Everybody at once, each with a connection of its own; returns what each got, or why not."""
    start = threading.Barrier(threads)

    def one(number):
        with connect(owner_address(shop.workspace)) as store:
            start.wait()
            try:
                with store.transaction():
                    return work(store, number)
            except (Refused, Insufficient) as error:
                return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


def test_clients_race_for_a_budget_of_coupons(shop):
    records = [shop.customer() for _ in range(30)]
    act = shop.act()
    shop.store.execute("insert into offers values (%s, 'coupon', 'ten', 90)", [shop.rules.programme])
    shop.store.commit()
    found = race(shop, 30, lambda store, n: offers.issue_coupon(store, records[n], "ten", act, str(uuid4())))
    given = [f for f in found if not isinstance(f, Exception)]
    assert len(given) == 10
    assert len({g["code"] for g in given}) == 10
    assert {str(f) for f in found if isinstance(f, Exception)} == {"the budget of this coupon is used up"}


def test_clients_race_for_the_last_reward(shop):
    records = [shop.customer(5) for _ in range(30)]
    act = shop.act()
    found = race(shop, 30, lambda store, n: offers.take_reward(store, records[n], "last", act, str(uuid4())))
    assert sum(not isinstance(f, Exception) for f in found) == 1
    assert sum(shop.balance(record).balance for record in records) == 30 * 5 - 1


def test_a_benefit_is_used_within_its_quota_and_is_there_again_when_time_has_passed(shop):
    record = shop.customer(100)
    for left in (2, 1):
        held = {e.benefit: e for e in shop.do(entitlements, [record], shop.act())}
        assert (held["lounge"].left, held["lounge"].because, held["lounge"].available) == (left, "level high", True)
        shop.do(offers.use_benefit, record, "lounge", shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="cannot be used now: used_up"):
        shop.do(offers.use_benefit, record, "lounge", shop.act(), str(uuid4()))
    shop.act(32 * 86400)
    shop.do(offers.use_benefit, record, "lounge", shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="no such benefit"):
        shop.do(offers.use_benefit, shop.customer(), "lounge", shop.act(), str(uuid4()))


def born(shop, record, day):
    customer = assignment.customer(shop.store, [record])
    profile = {"birth_date": {"value": day}}
    with shop.store.transaction():
        shop.store.execute(
            "insert into profiles (customer_id, kind, profile, row_hash) values (%s, 'known', %s, '') ",
            [customer, Jsonb(profile)],
        )


def test_a_birthday_is_a_window_of_days_and_used_once(shop):
    record = shop.customer()
    day = (shop.now - timedelta(days=3)).date().replace(year=1990)
    born(shop, record, day.isoformat())
    shop.do(offers.use_benefit, record, "bday", shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="used_up"):
        shop.do(offers.use_benefit, record, "bday", shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="not_within_the_window"):
        shop.do(offers.use_benefit, shop.customer(), "bday", shop.act(), str(uuid4()))


@pytest.mark.parametrize(
    ("born_on", "now", "opened"),
    [
        (date(1990, 5, 3), "2026-05-03T00:00", "2026-05-03"), (date(1990, 5, 3), "2026-05-09T23:59", "2026-05-03"), (date(1990, 5, 3), "2026-05-10T00:00", None),
        (date(1990, 12, 30), "2027-01-02T12:00", "2026-12-30"), (date(1992, 2, 29), "2026-02-28T12:00", "2026-02-28"), (date(1992, 2, 29), "2028-02-28T12:00", None),
        (None, "2026-05-03T00:00", None),
    ],
)  # fmt: skip
def test_birthday_windows(born_on, now, opened):
    found = birthday_window(
        born_on,
        Benefit(code="b", kind="birthday", window="P7D"),
        programme(),
        datetime.fromisoformat(now).replace(tzinfo=UTC),
    )
    assert (found and found.date().isoformat()) == opened


def benefits(shop, record):
    records = assignment.records(shop.store, [assignment.customer(shop.store, [record])])
    return {e.benefit: e.because for e in shop.do(entitlements, records, shop.act())}


def test_a_shared_plan_survives_merge_split_and_ends_with_its_refund(shop):
    owner, owners_other = shop.customer(records=2)
    friend, stranger = shop.customer(), shop.customer()
    held = shop.do(subscriptions.start, owner, "year", Decimal("60.00"), shop.act(), str(uuid4()))
    shop.do(circles.invite, owner, friend, shop.act(), str(uuid4()))
    assert "ship" not in benefits(shop, friend)
    shop.do(circles.accept, friend, shop.act(), str(uuid4()))
    assert benefits(shop, friend)["ship"] == "shared year"
    shop.do(circles.invite, owner, stranger, shop.act(), str(uuid4()))
    shop.do(circles.accept, stranger, shop.act(), str(uuid4()))
    assert "ship" not in benefits(shop, stranger), "the plan is shared with one: whoever came first"

    ours, theirs = assignment.customer(shop.store, [owner]), assignment.customer(shop.store, [friend])
    shop.move([friend], ours)  # merged: they are one now
    assert benefits(shop, friend)["ship"] == "plan year"
    shop.move([friend], theirs)  # split
    assert benefits(shop, friend)["ship"] == "shared year"
    shop.move([owners_other], uuid7(NOW))  # the plan stays with the record that bought it
    assert benefits(shop, owner)["ship"] == "plan year"
    assert "ship" not in benefits(shop, owners_other)

    _, back = shop.do(subscriptions.refund, held.subscription_id, shop.act(), str(uuid4()))
    assert back == Decimal("60.00"), "seconds of a year are worth nothing"
    assert "ship" not in benefits(shop, owner)
    assert "ship" not in benefits(shop, friend)
    with pytest.raises(Refused, match="refunded"):
        shop.do(subscriptions.renew, held.subscription_id, Decimal("60.00"), shop.act(), str(uuid4()))


def test_circles_are_asked_into_and_have_an_end(shop):
    one, two, three, four = (shop.customer() for _ in range(4))
    shop.do(circles.invite, one, two, shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="nobody has invited"):
        shop.do(circles.accept, three, shop.act(), str(uuid4()))
    shop.do(circles.accept, two, shop.act(), str(uuid4()))
    shop.do(circles.invite, two, three, shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="at most 3 members"):
        shop.do(circles.invite, one, four, shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="in a circle already"):
        shop.do(circles.invite, four, two, shop.act(), str(uuid4()))
    shop.do(circles.leave, three, shop.act(), str(uuid4()))  # no, thank you
    shop.do(circles.invite, one, four, shop.act(), str(uuid4()))
    shop.do(circles.leave, two, shop.act(), str(uuid4()))
    found = circles.of(shop.store, [one], shop.rules.programme)
    assert (len(found.members), len(found.invited)) == (1, 1)
    with pytest.raises(Refused, match="in no circle"):
        shop.do(circles.leave, two, shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="the same customer"):
        shop.do(circles.invite, one, one, shop.act(), str(uuid4()))
    alone = Shop(shop.workspace, programme(household={"mode": "none"}))
    with pytest.raises(Refused, match="shares nothing"):
        alone.do(circles.invite, one, two, alone.act(), str(uuid4()))


@pytest.fixture
def pool(workspace):
    found = Shop(workspace, programme(household={"mode": "pool_units", "max_members": 3}))
    found.people = [found.customer(points) for points in (50, 30)]
    one, two = found.people
    found.do(circles.invite, one, two, found.act(), str(uuid4()))
    assert found.balance(one).available == 50, "invited is not yet shared"
    found.do(circles.accept, two, found.act(), str(uuid4()))
    yield found
    assert found.store.execute(UNBALANCED).fetchall() == [(0,)]


def test_a_pool_spends_together_and_each_keeps_what_is_left_of_their_own(pool):
    one, two = pool.people
    assert (pool.balance(one).available, pool.balance(two).available) == (80, 80)
    pool.do(operations.redeem, two, 60, pool.act(), spent := str(uuid4()))
    assert pool.balance(one).available == 20
    with pytest.raises(Insufficient, match="20 are available, 21 are needed"):
        pool.do(operations.redeem, one, 21, pool.act(), str(uuid4()))
    pool.do(holding.hold, one, 15, pool.act(), str(uuid4()), 30)
    assert pool.balance(two).available == 5, "what one sets aside the other cannot spend"
    pool.act(3600)
    pool.do(operations.reverse, spent, pool.act())
    pool.do(circles.leave, two, pool.act(), str(uuid4()))
    assert (pool.balance(one).balance, pool.balance(two).balance) == (50, 30), (
        "what was contributed is known to the point"
    )


def test_members_of_a_pool_race_for_the_same_units(pool):
    act = pool.act()
    found = race(pool, 16, lambda store, n: operations.redeem(store, pool.people[n % 2], 10, act, str(uuid4())))
    assert sum(not isinstance(f, Exception) for f in found) == 8
    assert pool.balance(pool.people[0]).balance == 0


def test_who_leaves_while_others_spend_takes_what_is_theirs(pool):
    """Spending and leaving at once: whatever comes first, nothing is spent that is not there."""
    act = pool.act()

    def work(store, number):
        if number == 0:
            return circles.leave(store, pool.people[1], act, str(uuid4()))
        return operations.redeem(store, pool.people[0], 60, act, str(uuid4()))

    found = race(pool, 2, work)
    left, total = pool.balance(pool.people[0]).balance, sum(pool.balance(r).balance for r in pool.people)
    assert left >= 0
    assert total in (80, 20)
    assert (total == 20) == (not isinstance(found[1], Exception))


def test_pools_and_live_ends_are_refused_together():
    live = [
        {
            "code": "l",
            "measure": "m",
            "levels": [
                {"code": "low", "enter_at": 0},
                {"code": "high", "enter_at": 1, "expiry": {"pt": {"mode": "never", "binding": "live"}}},
            ],
        }
    ]
    with pytest.raises(ValueError, match="whose level would count"):
        programme(household={"mode": "pool_units"}, ladders=live, rewards=[], coupons=[])


PLAN = programme().plans[0]


@pytest.mark.parametrize(
    ("events", "day", "status", "until"),
    [
        ([(0, "start", 0)], 13, "trial", 14), ([(0, "start", 0)], 14, "lapsed", 14), ([(0, "start", 60)], 364, "active", 365), ([(0, "start", 60)], 365, "lapsed", 365),
        ([(0, "start", 0), (10, "renew", 60)], 20, "active", 379), ([(0, "start", 0), (20, "renew", 60)], 21, "active", 385),
        ([(0, "start", 60), (5, "cancel", 0)], 300, "active", 365), ([(0, "start", 60), (5, "refund", -60)], 6, "refunded", 5),
        ([(0, "start", 60), (5, "refund", -60), (6, "renew", 60)], 7, "refunded", 5), ([(0, "start", 60), (9, "refund", -60)], 8, "active", 365),
    ],
)  # fmt: skip
def test_how_a_subscription_stands(events, day, status, until):
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    made = [PlanEvent(at + timedelta(days=number), kind, Decimal(amount)) for number, kind, amount in events]
    found = membership(reversed(made), PLAN, programme(), at + timedelta(days=day))
    assert (found.status, found.until) == (status, at + timedelta(days=until))


@pytest.mark.parametrize(
    ("policy", "used", "day", "back"),
    [("none", False, 1, "0"), ("full_if_unused", False, 300, "60"), ("full_if_unused", True, 1, "0"), ("prorata", True, 73, "48.00"), ("prorata", False, 365, "0")],
)  # fmt: skip
def test_what_a_refund_gives_back(policy, used, day, back):
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    plan = PLAN.model_copy(update={"refund": policy})
    now = at + timedelta(days=day)
    held = membership([PlanEvent(at, "start", Decimal("60.00"))], plan, programme(), now)
    assert refundable(held, plan, used, now) == Decimal(back)


def test_a_trial_is_given_once_and_a_price_is_a_price(shop):
    one, two = shop.customer(records=2)
    held = shop.do(subscriptions.start, one, "year", Decimal(0), shop.act(), name := str(uuid4()))
    assert held.membership.status == "trial"
    assert shop.do(subscriptions.start, one, "year", Decimal(0), shop.act(), name).subscription_id == name, "a retry"
    with pytest.raises(Refused, match="running already"):
        shop.do(subscriptions.start, two, "year", Decimal("60.00"), shop.act(), str(uuid4()))
    shop.act(20 * 86400)
    with pytest.raises(Refused, match="a trial is given once"):
        shop.do(subscriptions.start, two, "year", Decimal(0), shop.act(), str(uuid4()))
    with pytest.raises(Refused, match=r"costs 60.00 EUR"):
        shop.do(subscriptions.start, two, "year", Decimal("6.00"), shop.act(), str(uuid4()))
    with pytest.raises(NotFound):
        shop.do(subscriptions.start, two, "day", Decimal(0), shop.act(), str(uuid4()))


def test_an_undone_grant_is_still_told(shop):
    """Nothing is deleted: what was given and taken back stays readable."""
    record, name = shop.customer(100), str(uuid4())
    shop.do(offers.take_reward, record, "mug", shop.act(), name)
    shop.do(offers.undo, name, shop.act())
    rows = shop.store.execute("select undone_at is not null from grants where grant_id = %s", [name]).fetchall()
    assert rows == [(True,)]
    kinds = [row["kind"] for row in books.legs(shop.store, [f"{shop.rules.programme}:pt:{record}"])]
    assert sorted(kinds) == ["adjust", "earn", "redeem"]


def test_previews_say_what_posting_does(workspace):
    """The small version of `benchmarks.offers preview`."""
    assert bench.previews(workspace, baskets=60, seed=5)["different"] == 0


def test_a_preview_that_lies_would_be_found(workspace):
    seen = []

    def work(store):
        seen.append(store)
        return len(seen)  # the second time is not the first

    with connect(owner_address(workspace)) as store:
        assert bench._both(store, work)


def test_what_paid_for_a_reward_goes_back_with_it_alone(shop):
    record, name = shop.customer(100), str(uuid4())
    shop.do(offers.take_reward, record, "mug", shop.act(), name)
    spent = shop.store.execute(
        "select transaction_id::text from ledger_entries where posting_key = %s", [f"reward|{name}|pt"]
    ).fetchall()[0][0]
    with pytest.raises(Refused, match="undo the reward"):
        shop.do(operations.reverse, spent, shop.act())
    shop.do(offers.undo, name, shop.act())
    assert shop.balance(record).balance == 100


def later(shop, **changed):
    """The same programme with a newer version that holds from now on."""
    first = shop.rules
    newer = Programme.model_validate(
        {
            **first.model_dump(mode="json"),
            "version": "2",
            "starts": (shop.now - timedelta(days=2)).date().isoformat(),
            **changed,
        }
    )
    for version in (first, newer):
        version._versions = (first, newer)
    shop.rules = newer


def test_what_a_newer_version_drops_is_no_longer_given_but_still_given_back(shop):
    record, name = shop.customer(100), str(uuid4())
    shop.do(offers.take_reward, record, "mug", shop.act(), name)
    held = shop.do(subscriptions.start, record, "year", Decimal("60.00"), shop.act(), str(uuid4()))
    later(shop, rewards=[], plans=[], coupons=[])
    for work, what in ((offers.take_reward, "mug"), (offers.issue_coupon, "ten")):
        with pytest.raises(NotFound):
            shop.do(work, record, what, shop.act(), str(uuid4()))
    with pytest.raises(NotFound, match="no such plan"):
        shop.do(subscriptions.start, shop.customer(), "year", Decimal("60.00"), shop.act(), str(uuid4()))
    shop.do(offers.undo, name, shop.act())
    assert shop.balance(record).balance == 100
    assert shop.do(subscriptions.refund, held.subscription_id, shop.act(), str(uuid4()))[1] == Decimal("60.00")


def test_a_reward_taken_when_there_was_no_stock_frees_none(workspace):
    shop = Shop(workspace, programme(rewards=[{"code": "mug", "cost": {"pt": 1}}]))
    names = [str(uuid4()) for _ in range(2)]
    for name in names:
        shop.do(offers.take_reward, shop.customer(5), "mug", shop.act(), name)
    later(shop, rewards=[{"code": "mug", "cost": {"pt": 2}, "stock": 1}])
    shop.do(offers.take_reward, shop.customer(5), "mug", shop.act(), str(uuid4()))
    for name in names:
        shop.do(offers.undo, name, shop.act())
    with pytest.raises(offers.Gone):
        shop.do(offers.take_reward, shop.customer(5), "mug", shop.act(), str(uuid4()))


def test_an_id_of_another_customers_subscription_is_refused(shop):
    name = str(uuid4())
    shop.do(subscriptions.start, shop.customer(), "year", Decimal("60.00"), shop.act(), name)
    with pytest.raises(Refused, match="used for something else"):
        shop.do(subscriptions.start, shop.customer(), "year", Decimal("60.00"), shop.act(), name)


def test_a_plan_is_given_back_once_whatever_the_clocks_say(shop):
    held = shop.do(subscriptions.start, shop.customer(), "year", Decimal("60.00"), shop.act(), str(uuid4()))
    early = shop.act()
    first = shop.do(subscriptions.refund, held.subscription_id, shop.act(3600), str(uuid4()))[1]
    again = shop.do(subscriptions.refund, held.subscription_id, early, str(uuid4()))[1]
    assert first == again
    rows = shop.store.execute(
        "select count(*) from plan_events where subscription_id = %s and kind = 'refund'", [held.subscription_id]
    ).fetchall()
    assert rows == [(1,)]
    with pytest.raises(Refused, match="refunded"):
        shop.do(subscriptions.renew, held.subscription_id, Decimal("60.00"), early, str(uuid4()))


def test_a_circle_that_many_invite_into_at_once_stays_within_its_size(shop):
    one, two = shop.customer(), shop.customer()
    shop.do(circles.invite, one, two, shop.act(), str(uuid4()))
    shop.do(circles.accept, two, shop.act(), str(uuid4()))
    others, act = [shop.customer() for _ in range(8)], shop.act()
    found = race(shop, 8, lambda store, n: circles.invite(store, (one, two)[n % 2], others[n], act, str(uuid4())))
    assert sum(not isinstance(f, Exception) for f in found) == 1


def test_whoever_used_a_shared_plan_and_left_counts_for_its_refund(workspace):
    plan = {
        "code": "year",
        "price": "60.00",
        "every": "P1Y",
        "benefits": ["ship"],
        "share_with": 1,
        "refund": "full_if_unused",
    }
    shop = Shop(workspace, programme(plans=[plan]))
    owner, friend = shop.customer(), shop.customer()
    held = shop.do(subscriptions.start, owner, "year", Decimal("60.00"), shop.act(), str(uuid4()))
    shop.do(circles.invite, owner, friend, shop.act(), str(uuid4()))
    shop.do(circles.accept, friend, shop.act(), str(uuid4()))
    shop.do(offers.use_benefit, friend, "ship", shop.act(), str(uuid4()))
    shop.do(circles.leave, friend, shop.act(), str(uuid4()))
    with pytest.raises(Refused, match="nothing is given back"):
        shop.do(subscriptions.refund, held.subscription_id, shop.act(), str(uuid4()))


def test_in_a_programme_that_is_joined_by_paying_only_members_take(workspace):
    shop = Shop(workspace, programme(join="paid"))
    record = shop.customer(100)
    for work, what in ((offers.take_reward, "mug"), (offers.issue_coupon, "ten")):
        with pytest.raises(Refused, match="for members"):
            shop.do(work, record, what, shop.act(), str(uuid4()))
    assert benefits(shop, record) == {}
    shop.do(subscriptions.start, record, "year", Decimal("60.00"), shop.act(), str(uuid4()))
    shop.do(offers.take_reward, record, "mug", shop.act(), str(uuid4()))
    assert set(benefits(shop, record)) == {"ship", "lounge", "bday"}
