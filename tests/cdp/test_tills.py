"""Offline tills, referral and velocity: what is refused, what posts whatever happens, and that the order of syncing is the same."""

import itertools
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from cdp.errors import NotFound
from cdp.loyalty import guards, holding, offers, operations, referrals, tills
from cdp.loyalty.groups import Posting
from cdp.loyalty.operations import Refused
from cdp.loyalty.posting import post
from cdp.loyalty.rules import Line
from cdp.loyalty.tills import Spent
from cdp.store import assignment
from cdp.store import referrals as graph
from identity.ids import uuid7
from tests.cdp.test_ledger import UNBALANCED
from tests.cdp.test_offers import Shop, programme
from tests.conftest import NOW

SECRET = "pepper"


@pytest.fixture
def shop(workspace):
    found = Shop(
        workspace, programme(referral={"unit": "pt", "referrer": 50, "referred": 20, "min_order": "10", "per_year": 2})
    )
    yield found
    assert found.store.execute(UNBALANCED).fetchall() == [(0,)]
    found.store.close()


def allowed(shop, record, till, points, hours=8):
    return shop.do(tills.allow, record, till, points, hours, shop.act(), SECRET, str(uuid4()))[1]


def state(shop, record):
    """Everything that was derived, without ids that differ between runs."""
    account = f"{shop.rules.programme}:pt:{record}"
    lots = shop.store.execute(
        "select amount, remaining, occurred_at from ledger_lots where account_id = %s order by 3, 1", [account]
    ).fetchall()
    owed = shop.store.execute(
        "select amount, occurred_at from ledger_deficits where account_id = %s order by 2", [account]
    ).fetchall()
    legs = shop.store.execute(
        "select occurred_at, sum(amount)::bigint from ledger_entries where account_id = %s group by 1 order by 1",
        [account],
    ).fetchall()
    return lots, owed, legs, shop.balance(record).balance


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_tills_that_spent_the_same_points_end_equal_whoever_comes_back_first(shop, order):
    record = shop.customer(100)
    papers = [allowed(shop, record, till, 80) for till in ("T1", "T2")]
    start = shop.now
    done = [
        lambda: shop.do(
            tills.settle, "T1", [Spent(first, papers[0], 80, start + timedelta(hours=1))], shop.act(), SECRET
        ),
        lambda: shop.do(
            tills.settle, "T2", [Spent(second, papers[1], 70, start + timedelta(hours=2))], shop.act(), SECRET
        ),
        lambda: shop.give(record, 30),
    ]
    first, second = str(uuid4()), str(uuid4())
    shop.now += timedelta(hours=3)
    for number in order:
        done[number]()
    lots, owed, _, balance = state(shop, record)
    assert sorted(lot[:2] for lot in lots) == [(30, 0), (100, 0)]
    assert balance == 100 + 30 - 150
    assert owed == [(20, start + timedelta(hours=2))], "the later one spent what was not there, whoever came back first"
    one, two = (shop.do(tills.explain, name) for name in (first, second))
    assert (one.status, one.covered, one.owed) == ("settled", 80, 0)
    assert (two.status, two.covered, two.owed, two.because) == ("owed", 70, 20, [first])
    assert "20 were not there any more" in two.explanation


def test_a_retry_posts_nothing_and_explains_anew(shop):
    record = shop.customer(100)
    paper, name = allowed(shop, record, "T1", 80), str(uuid4())
    shop.now += timedelta(hours=1)
    spent = [Spent(name, paper, 80, shop.now)]
    for _ in range(2):
        assert [s.status for s in shop.do(tills.settle, "T1", spent, shop.act(), SECRET)] == ["settled"]
    assert shop.balance(record).balance == 20
    refused = shop.do(tills.settle, "T1", [replace(spent[0], points=81)], shop.act(), SECRET)[0]
    assert (refused.status, refused.explanation) == ("refused", "this id was used for something else")


def test_beyond_the_allowance_posts_and_says_so(shop):
    record = shop.customer(100)
    paper = allowed(shop, record, "T1", 50, hours=2)
    start = shop.now
    spent = [
        Spent(str(uuid4()), paper, points, start + timedelta(hours=hours))
        for hours, points in ((1, 30), (1.5, 30), (3, 10))
    ]
    shop.now += timedelta(hours=4)
    found = shop.do(tills.settle, "T1", list(reversed(spent)), shop.act(), SECRET)
    assert [s.covered for s in reversed(found)] == [30, 20, 0], "by time, and nothing after its end"
    assert "10 beyond its allowance" in found[0].explanation
    assert shop.balance(record).balance == 30


def test_what_is_not_ours_is_refused_and_holds_up_nothing(shop):
    record = shop.customer(100)
    paper = allowed(shop, record, "T1", 50)
    body, mac = paper.split(".")
    shop.now += timedelta(hours=1)
    bad = [paper.replace(body[:8], "AAAAAAAA"), f"{body}.{'0' * len(mac)}", "nonsense", "", f"{body}.é"]
    spent = [Spent(str(uuid4()), text, 1, shop.now) for text in bad]
    future = Spent(str(uuid4()), paper, 1, shop.now + timedelta(days=1))
    good = Spent(str(uuid4()), paper, 5, shop.now)
    found = shop.do(tills.settle, "T1", [*spent, future, good], shop.act(), SECRET)
    assert [s.status for s in found] == ["refused"] * 6 + ["settled"]
    assert {s.explanation for s in found[:5]} == {"this allowance was not given by us"}
    assert "future" in found[5].explanation
    other = shop.do(tills.settle, "T2", [replace(good, transaction_id=str(uuid4()))], shop.act(), SECRET)[0]
    assert other.explanation == "this allowance was given to another till than T2"
    assert shop.balance(record).balance == 95


def test_an_order_is_charged_once_by_till_and_file(shop):
    record = shop.customer(100)
    paper = allowed(shop, record, "T1", 50)
    key = f"{shop.rules.programme}|pt|pos:7|redeem"
    shop.now += timedelta(hours=1)
    with shop.store.transaction():
        post(
            shop.store,
            [Posting(key, 0, record, "redeem", -40, shop.now, "redeemed_at_till", "pos:7", across=True)],
            shop.rules,
            shop.now,
        )
    found = shop.do(tills.settle, "T1", [Spent(str(uuid4()), paper, 40, shop.now, "pos:7")], shop.act(), SECRET)[0]
    assert (found.status, found.explanation) == ("settled", "the order's file came first and has charged it")
    assert shop.balance(record).balance == 60


def test_an_allowance_is_within_what_is_there_and_what_guards_say(shop):
    record = shop.customer(100)
    for points, hours, said in ((101, 8, "100 are available"), (50, 25, "for 24 hours")):
        with pytest.raises(Refused, match=said):
            allowed(shop, record, "T1", points, hours)
    assert record not in allowed(shop, record, "T1", 50), "no person is named in it"


def test_velocity_is_limited_for_channels_and_a_person_may_still_adjust(workspace):
    shop = Shop(workspace, programme(guards={"redemptions_per_hour": 3, "units_per_day": 60}))
    record = shop.customer(500)
    for _ in range(3):
        shop.do(operations.redeem, record, 10, shop.act(), str(uuid4()))
    with pytest.raises(guards.TooFast, match="3 redemptions within an hour"):
        shop.do(operations.redeem, record, 1, shop.act(), str(uuid4()))
    with pytest.raises(guards.TooFast):
        shop.do(holding.hold, record, 1, shop.act(), str(uuid4()), 30)
    with pytest.raises(guards.TooFast):
        shop.do(offers.take_reward, record, "mug", shop.act(), str(uuid4()))
    shop.act(3600)
    with pytest.raises(guards.TooFast, match="30 spent within a day, 60 are allowed"):
        shop.do(operations.redeem, record, 31, shop.act(), str(uuid4()))
    shop.do(operations.redeem, record, 30, shop.act(), str(uuid4()))
    shop.do(operations.adjust, record, -100, shop.act(), str(uuid4()))
    shop.act(86400)
    shop.do(operations.redeem, record, 60, shop.act(), str(uuid4()))


def test_sales_that_a_channel_posts_are_limited_a_day(workspace):
    rules = {"rules": [{"code": "r", "unit": "pt", "per_money": {}}], "guards": {"earnings_per_day": 2}}
    shop = Shop(workspace, programme(**rules))
    record = shop.customer()

    def sell():
        act = shop.act()
        order = {
            "order_id": f"pos:{uuid4()}",
            "record_id": record,
            "ordered_at": act.now,
            "currency": "EUR",
            "points_redeemed": 0,
            "is_member": True,
        }
        return shop.do(operations.earn, order, [Line(1, "X", 1, Decimal("5.00"))], act)

    sell()
    sell()
    with pytest.raises(guards.TooFast, match="2 sales posted within a day"):
        sell()


def buys(shop, record, total, returned=None):
    """An order as the pipeline publishes it."""
    name = f"web:{uuid4().hex[:10]}"
    rows = [(name, "sale", Decimal(total), None)] + (
        [(f"{name}r", "return", -Decimal(returned), name)] if returned else []
    )
    with shop.store.transaction():
        for order, kind, amount, of in rows:
            shop.store.execute(
                "insert into orders (order_id, record_id, source, kind, ordered_at, currency, total, details, row_hash) values (%s, %s, 'web', %s, %s, 'EUR', %s, "
                "jsonb_build_object('original_order_id', %s::text), '')", [order, record, kind, shop.now + timedelta(seconds=1), amount, of],
            )  # fmt: skip
    shop.act(60)
    return name


def settled(shop):
    return referrals.settle(shop.store, shop.rules, shop.act().now)


def test_both_are_rewarded_once_the_invited_person_has_bought(shop):
    inviter, invited = shop.customer(), shop.customer()
    code = shop.do(referrals.code, inviter, shop.act())
    assert shop.do(referrals.code, inviter, shop.act()) == code
    name = shop.do(referrals.claim, invited, f"{code[:4]}-{code[4:].lower()}", shop.act(), str(uuid4()))
    assert shop.do(referrals.claim, invited, code, shop.act(), str(uuid4())) == name, "a retry"
    assert settled(shop) == (0, {"waiting": 1})
    buys(shop, invited, "9.99")
    assert settled(shop)[0] == 0, "too little"
    buys(shop, invited, "30.00")
    assert settled(shop)[0] == 2
    assert (shop.balance(inviter).balance, shop.balance(invited).balance) == (50, 20)
    assert settled(shop)[0] == 0, "once"


def test_a_reward_goes_with_the_order_that_comes_back(shop):
    inviter, invited = shop.customer(), shop.customer()
    shop.do(referrals.claim, invited, shop.do(referrals.code, inviter, shop.act()), shop.act(), str(uuid4()))
    name = buys(shop, invited, "30.00")
    settled(shop)
    with shop.store.transaction():
        shop.store.execute(
            "insert into orders (order_id, record_id, source, kind, ordered_at, currency, total, details, row_hash) values (%s, %s, 'web', 'return', %s, 'EUR', -25, "
            "jsonb_build_object('original_order_id', %s::text), '')", [f"{name}r", invited, shop.now, name],
        )  # fmt: skip
    assert settled(shop)[0] == 2
    assert (shop.balance(inviter).balance, shop.balance(invited).balance) == (0, 0)


def test_self_referral_by_a_second_account_is_refused(shop):
    one, two = shop.customer(records=2)
    code = shop.do(referrals.code, one, shop.act())
    with pytest.raises(referrals.SelfReferral, match="own code"):
        shop.do(referrals.claim, two, code, shop.act(), str(uuid4()))

    def second(sql, *values):
        record = shop.customer()
        with shop.store.transaction():
            shop.store.execute(sql, [v if v is not None else record for v in values])
        return record

    phone = f"+44{uuid4().int % 10**10}"
    with shop.store.transaction():
        shop.store.execute("insert into identifiers values (%s, 'phone', %s, now(), now(), '')", [one, phone])
        shop.store.execute("insert into households values (%s, 'h1', '')", [two])
    same = {
        "identifier": second("insert into identifiers values (%s, 'phone', %s, now(), now(), '')", None, phone),
        "household": second("insert into households values (%s, 'h1', '')", None),
        "link": second("insert into edges values (%s, %s, 'name', 'probabilistic', 3, 'm', '{}', '')", one, None),
    }
    for reason, record in same.items():
        customers = [assignment.customer(shop.store, [r]) for r in (one, record)]
        assert graph.connected(shop.store, *customers) == reason
        with pytest.raises(referrals.SelfReferral, match="cannot be invited by that one"):
            shop.do(referrals.claim, record, code, shop.act(), str(uuid4()))


def test_two_accounts_that_turn_out_to_be_one_person_give_the_reward_back(shop):
    inviter, invited = shop.customer(), shop.customer()
    shop.do(referrals.claim, invited, shop.do(referrals.code, inviter, shop.act()), shop.act(), str(uuid4()))
    buys(shop, invited, "30.00")
    settled(shop)
    shop.move([invited], assignment.customer(shop.store, [inviter]))
    written, told = settled(shop)
    assert (written, told) == (2, {"connected": 1})
    assert shop.balance(inviter).balance == 0
    shop.move([invited], uuid7(NOW))
    assert settled(shop)[0] == 2, "and again when they are found to be two after all"
    assert shop.balance(inviter).balance == 50


def test_invitations_are_for_new_customers_and_limited_a_year(shop):
    inviter = shop.customer()
    code = shop.do(referrals.code, inviter, shop.act())
    old = shop.customer()
    buys(shop, old, "30.00")
    with pytest.raises(Refused, match="bought before"):
        shop.do(referrals.claim, old, code, shop.act(), str(uuid4()))
    with pytest.raises(NotFound, match="nobody has this code"):
        shop.do(referrals.claim, shop.customer(), "ZZZZZZZZZZ", shop.act(), str(uuid4()))
    for _ in range(3):
        invited = shop.customer()
        shop.do(referrals.claim, invited, code, shop.act(), str(uuid4()))
        buys(shop, invited, "30.00")
    assert settled(shop)[1] == {"rewarded": 2, "over_limit": 1}
    assert shop.balance(inviter).balance == 100
    other = shop.do(referrals.code, shop.customer(), shop.act())
    with pytest.raises(Refused, match="somebody else"):
        shop.do(referrals.claim, invited, other, shop.act(), str(uuid4()))


def test_two_claims_of_what_is_one_person_reward_one_order_once(shop):
    inviters, invited = [shop.customer(), shop.customer()], [shop.customer(), shop.customer()]
    for inviter, record in zip(inviters, invited, strict=True):
        shop.do(referrals.claim, record, shop.do(referrals.code, inviter, shop.act()), shop.act(), str(uuid4()))
    shop.move([invited[1]], assignment.customer(shop.store, [invited[0]]))
    buys(shop, invited[0], "30.00")
    assert settled(shop)[1] == {"rewarded": 1, "counted_before": 1}
    assert sum(shop.balance(record).balance for record in {*inviters, invited[0]}) == 70


def test_what_is_set_aside_counts_as_spent_and_a_sale_paid_with_points_too(workspace):
    shop = Shop(
        workspace,
        programme(
            guards={"redemptions_per_hour": 2, "units_per_day": 60},
            rules=[{"code": "r", "unit": "pt", "per_money": {}}],
        ),
    )
    record = shop.customer(500)
    held = [str(uuid4()), str(uuid4())]
    for name in held:
        shop.do(holding.hold, record, 10, shop.act(), name, 30)
    with pytest.raises(guards.TooFast, match="2 redemptions within an hour"):
        shop.do(holding.hold, record, 10, shop.act(), str(uuid4()), 30)
    for name in held:
        shop.do(holding.capture, name, None, shop.act())
    act = shop.act()
    order = {
        "order_id": f"pos:{uuid4()}",
        "record_id": record,
        "ordered_at": act.now,
        "currency": "EUR",
        "points_redeemed": 1,
        "is_member": True,
        "source": "pos",
    }
    with pytest.raises(guards.TooFast):
        shop.do(operations.earn, order, [Line(1, "X", 1, Decimal("5.00"))], act)


def test_a_till_has_no_more_than_its_allowance_in_all(shop):
    record = shop.customer(2000)
    allowed(shop, record, "T1", 300)
    with pytest.raises(Refused, match="at most 200 more"):
        allowed(shop, record, "T1", 300)
    allowed(shop, record, "T1", 200)
    allowed(shop, record, "T2", 500)  # another till has its own


def test_an_order_that_two_transactions_charge_differently_is_refused_the_second_time(shop):
    record = shop.customer(100)
    paper = allowed(shop, record, "T1", 80)
    shop.now += timedelta(hours=1)
    first, second = (Spent(str(uuid4()), paper, points, shop.now, "pos:77") for points in (40, 30))
    assert shop.do(tills.settle, "T1", [first], shop.act(), SECRET)[0].status == "settled"
    told = shop.do(tills.settle, "T1", [second], shop.act(), SECRET)[0]
    assert (told.status, told.explanation) == ("refused", "this order was charged 40 before")
    twice = shop.do(tills.settle, "T1", [first, replace(first, points=1)], shop.act(), SECRET)
    assert [t.status for t in twice] == ["settled", "refused"]
    assert shop.balance(record).balance == 60


def test_a_unit_that_only_counts_is_not_spent_anywhere(workspace):
    shop = Shop(workspace, programme(units=[{"code": "pt"}, {"code": "gem"}, {"code": "seen", "redeemable": False}]))
    record = shop.customer()
    shop.give(record, 50, "seen")
    act = replace(shop.act(), programme=shop.rules.of("seen"))
    for work in (
        lambda store: operations.redeem(store, record, 1, act, str(uuid4())),
        lambda store: holding.hold(store, record, 1, act, str(uuid4()), 5),
        lambda store: tills.allow(store, record, "T", 1, 1, act, SECRET, str(uuid4())),
    ):
        with pytest.raises(Refused, match="seen cannot be spent"):
            shop.do(work)
