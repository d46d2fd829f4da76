"""The ledger's arithmetic: what orders earn, what returns take back, how lots are drawn."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.loyalty import earning
from cdp.loyalty.earning import Occasion
from cdp.loyalty.ladder import Item, climb, standing
from cdp.loyalty.lots import Fact, derive
from cdp.loyalty.orders import posting
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Line, Return, allocate, clawbacks, given_back

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PROGRAMME = Programme.model_validate(
    {
        "programme": "p", "version": "1", "unit": "points", "currency": "GBP",
        "earn": {"points_per_unit": 1, "exclude_skus": ["POST"]},
        "tiers": [{"name": "bronze", "points": 0}, {"name": "silver", "points": 100}, {"name": "gold", "points": 500}],
    }
)  # fmt: skip


def earn(lines, programme):
    return earning.earn(lines, programme, Occasion(T0))


def tier(earned, programme, now):
    items = [Item(at, at, points) for at, points in earned]
    return standing(climb(items, programme, programme.ladder, now))


def line(number, sku, quantity, amount):
    return Line(number, sku, quantity, Decimal(amount))


SALE = [line(1, "MUG", 3, "9.99"), line(2, "BAG", 1, "4.50"), line(3, "POST", 1, "3.50")]


def returned(*lines, day=1, name="R1"):
    return Return(name, T0 + timedelta(days=day), tuple(lines))


def test_points_are_rounded_down_once_and_excluded_articles_earn_nothing():
    earned = earn(SALE, PROGRAMME)
    assert earned.points == 14  # 14.49
    assert sum(earned.by_line.values()) == 14
    assert 3 not in earned.by_line


@given(
    st.integers(0, 10_000),
    st.dictionaries(st.integers(1, 30), st.decimals("0.01", "999", places=2), min_size=1, max_size=12),
)
def test_allocation_sums_to_the_whole_and_is_fair_to_one_point(points, shares):
    parts = allocate(points, shares)
    assert sum(parts.values()) == points
    total = sum(shares.values())
    assert all(abs(parts[k] - points * share / total) < 1 for k, share in shares.items())


def test_a_returned_article_takes_back_the_points_of_its_line_unit_by_unit():
    earned = earn(SALE, PROGRAMME)
    mugs = earned.by_line[1]
    once = clawbacks(SALE, earned, [returned(line(1, "MUG", -1, "-3.33"))], PROGRAMME)["R1"]
    assert once == mugs // 3
    all_three = clawbacks(
        SALE, earned, [returned(line(1, "MUG", -n, "-3.33"), day=n, name=f"R{n}") for n in (1, 2)], PROGRAMME
    )
    assert sum(all_three.values()) == mugs


def test_another_article_takes_back_at_the_orders_rate():
    earned = earn(SALE, PROGRAMME)
    assert clawbacks(SALE, earned, [returned(line(1, "HAT", -1, "-5.00"))], PROGRAMME)["R1"] == int(5 * 14 / 14.49)


def test_returned_postage_takes_nothing_back():
    assert clawbacks(SALE, earn(SALE, PROGRAMME), [returned(line(1, "POST", -1, "-3.50"))], PROGRAMME)["R1"] == 0


returns = st.lists(
    st.builds(
        lambda sku, units, price, day, number: returned(line(1, sku, -units, str(-units * price)), day=day, name=f"R{number}"),
        st.sampled_from(["MUG", "BAG", "HAT", "POST"]), st.integers(1, 60), st.integers(1, 9), st.integers(-5, 30), st.integers(0, 99),
    ),
    max_size=6, unique_by=lambda r: r.order_id,
)  # fmt: skip


@given(returns, st.randoms())
def test_returns_never_take_back_more_than_was_earned_in_whatever_order_they_arrive(items, random):
    earned = earn(SALE, PROGRAMME)
    taken = clawbacks(SALE, earned, items, PROGRAMME)
    assert all(points >= 0 for points in taken.values())
    assert sum(taken.values()) <= earned.points
    shuffled = list(items)
    random.shuffle(shuffled)
    assert clawbacks(SALE, earned, shuffled, PROGRAMME) == taken


ACCOUNTS = ("a", "b", "c")
FAR = T0 + timedelta(days=400)


@st.composite
def fact(draw):
    """A fact of one of three accounts: credits with and without an end, debits of one account or of all, restorations."""
    number, own = draw(st.integers(0, 5000)), draw(st.sampled_from(ACCOUNTS))
    at, amount = T0 + timedelta(days=draw(st.integers(0, 50))), draw(st.integers(-200, 200))
    scope = (own, *(x for x in ACCOUNTS if x != own)) if draw(st.booleans()) else (own,)
    ends = at + timedelta(days=draw(st.integers(1, 30))) if draw(st.booleans()) else None
    reverses = f"k{draw(st.integers(0, 20))}" if amount > 0 and draw(st.integers(0, 3)) == 0 else None
    return Fact(
        f"f{number:04d}",
        f"k{number % 20}",
        own,
        amount,
        at,
        draw(st.sampled_from([None, "o1", "o2"])),
        scope,
        ends,
        reverses,
    )


histories = st.lists(fact(), max_size=15, unique_by=lambda f: f.fact_id)


@given(histories, st.randoms())
def test_lots_less_deficits_are_the_balance_are_the_entries(history, random):
    state = derive(history, FAR)
    for account in ACCOUNTS:
        assert state.balance(account) == sum(n for (_, where), n in state.legs.items() if where == account)
    for item in history:
        assert sum(n for (f, _), n in state.legs.items() if f == item.fact_id) == item.amount, "legs sum to the fact"
    drawn = {lot: sum(n for (_, where), n in state.allocations.items() if where == lot) for lot in state.lots}
    assert all(lot.remaining == lot.amount - drawn[name] >= 0 for name, lot in state.lots.items())
    assert all(amount > 0 for amount in state.deficits.values())
    assert not [lot for lot in state.lots.values() if lot.remaining and lot.expires_at and lot.ends_at <= FAR]
    shuffled = list(history)
    random.shuffle(shuffled)
    again = derive(shuffled, FAR)
    assert (again.allocations, again.legs, again.deficits) == (state.allocations, state.legs, state.deficits)


@given(histories)
def test_one_fact_more_changes_nothing_that_was_before_it(history):
    """What the quick way of posting rests on: a fact later than all others may be applied to the open lots alone."""
    ordered = sorted(history, key=lambda f: f.position)
    if not ordered or ordered[-1].reverses or any(f.reverses == ordered[-1].key for f in ordered):
        return  # these look back: they are always derived from all facts
    before, after = derive(ordered[:-1], ordered[-1].at), derive(ordered, ordered[-1].at)
    assert {k: n for k, n in after.legs.items() if k[0] != ordered[-1].fact_id} == before.legs


def lot(name, amount, day=0, order=None, ends=None, account="a"):
    return Fact(
        name, name, account, amount, T0 + timedelta(days=day), order, (account,), ends and T0 + timedelta(days=ends)
    )


def spent(name, amount, day, order=None, scope=("a",), reverses=None, ends=None):
    return Fact(name, name, scope[0], amount, T0 + timedelta(days=day), order, scope, ends and T0 + timedelta(days=ends), reverses)  # fmt: skip


def remaining(state):
    return {(lot.fact_id, lot.account): lot.remaining for lot in state.lots.values() if lot.remaining}


def test_lots_are_drawn_soonest_expiring_first_and_a_clawback_from_its_own_order():
    lots = [lot("late", 50, 0, "o1"), lot("soon", 50, 1, "o2", ends=30)]
    until = T0 + timedelta(days=3)
    assert remaining(derive([*lots, spent("s", -30, 2)], until)) == {("late", "a"): 50, ("soon", "a"): 20}
    assert remaining(derive([*lots, spent("s", -30, 2, "o1")], until)) == {("late", "a"): 20, ("soon", "a"): 50}


def test_a_later_credit_absorbs_the_deficit():
    state = derive([spent("d", -70, 0), lot("c", 100, 1)], T0 + timedelta(days=1))
    assert state.deficits == {}
    assert remaining(state) == {("c", "a"): 30}


def test_a_debit_draws_over_accounts_and_owes_in_its_own():
    lots = [lot("x", 30, 0), lot("y", 40, 1, account="b")]
    state = derive([*lots, spent("s", -100, 2, scope=("b", "a"))], FAR)
    assert state.legs["s", "a"] == -30
    assert state.legs["s", "b"] == -70
    assert state.deficits == {("s", "b"): 30}


def test_what_is_left_at_the_end_expires_and_a_debit_that_comes_late_takes_from_it():
    first = derive([lot("x", 100, 0, ends=10)], T0 + timedelta(days=20))
    assert [n for (t, _), n in first.legs.items() if t in first.expired] == [-100]
    late = derive([lot("x", 100, 0, ends=10), spent("s", -60, 5)], T0 + timedelta(days=20))
    assert [n for (t, _), n in late.legs.items() if t in late.expired] == [-40]
    assert derive([lot("x", 100, 0, ends=10), spent("s", -60, 10)], T0 + timedelta(days=20)).deficits == {
        ("s", "a"): 60
    }


def test_units_given_back_return_to_their_lots_and_live_a_minimum_longer():
    history = [
        lot("x", 100, 0, "o1", ends=30),
        lot("y", 50, 1, "o2"),
        spent("s", -120, 2),
        spent("r", 60, 40, reverses="s", ends=54),
    ]
    state = derive(history, T0 + timedelta(days=40))
    back = {lot.origin: lot for lot in state.lots.values() if lot.origin}
    names = {lot.lot_id: lot.fact_id for lot in state.lots.values()}
    assert {names[origin]: (lot.remaining, lot.expires_at, lot.at) for origin, lot in back.items()} == {
        "y": (20, None, T0 + timedelta(days=1)),
        "x": (40, T0 + timedelta(days=54), T0),
    }, "the last drawn first; what has no end gets none, what ended lives on for the minimum"
    twice = derive([*history, spent("r2", 100, 41, reverses="s", ends=55)], T0 + timedelta(days=41))
    given_back = sum(lot.amount for lot in twice.lots.values() if lot.origin)
    assert given_back == 120, "never more than was drawn; the rest is a plain credit"


def test_units_given_back_pay_the_debits_own_deficit_first():
    state = derive([lot("x", 60, 0), spent("s", -100, 1), spent("r", 50, 2, reverses="s")], FAR)
    assert state.deficits == {}
    assert sum(remaining(state).values()) == 10


def test_a_debit_over_accounts_that_were_parted_keeps_its_legs():
    fixed = Fact("s", "s", "a", -50, T0 + timedelta(days=2), legs={"a": -50})
    state = derive([lot("x", 30, 0), fixed], FAR)
    assert state.legs["s", "a"] == -50
    assert state.deficits == {("s", "a"): 20}


@pytest.mark.parametrize(
    ("points", "name", "missing"), [(0, "bronze", 100), (99, "bronze", 1), (100, "silver", 400), (500, "gold", None)]
)
def test_tiers(points, name, missing):
    standing = tier([(T0, points)], PROGRAMME, T0 + timedelta(days=1))
    assert (standing.tier, standing.points_to_next) == (name, missing)


def test_points_outside_the_window_do_not_hold_a_tier():
    assert tier([(T0, 500)], PROGRAMME, T0 + timedelta(days=364)).tier == "gold"
    assert tier([(T0, 500)], PROGRAMME, T0 + timedelta(days=365)).tier == "bronze"


@pytest.mark.parametrize(
    "tiers", [[{"name": "a", "points": 10}], [{"name": "a", "points": 0}, {"name": "b", "points": 0}]]
)
def test_a_ladder_that_does_not_rise_from_zero_is_refused(tiers):
    short = {"programme": "p", "version": "1", "unit": "points", "currency": "GBP", "earn": {"points_per_unit": 1}}
    with pytest.raises(ValueError, match="levels start at 0"):
        Programme.model_validate(short | {"tiers": tiers})


def test_a_tier_says_how_long_it_holds_and_what_keeps_it():
    earned = [(T0, 80), (T0 + timedelta(days=10), 40), (T0 + timedelta(days=20), -5)]
    standing = tier(earned, PROGRAMME, T0 + timedelta(days=30))
    assert (standing.tier, standing.qualifying_points) == ("silver", 115)
    assert (standing.holds_until, standing.points_to_keep) == (T0 + timedelta(days=365), 65)
    assert tier([*earned, (T0 + timedelta(days=25), 65)], PROGRAMME, T0 + timedelta(days=365)).tier == "silver"
    assert tier([*earned, (T0 + timedelta(days=25), 64)], PROGRAMME, T0 + timedelta(days=365)).tier == "bronze"
    assert tier([(T0, 99)], PROGRAMME, T0).holds_until is None, "the lowest is never lost"


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(-50, 200)), max_size=12), st.integers(0, 500))
def test_the_day_a_tier_is_lost_is_the_first_day_it_is_not_held(history, today):
    dated = [(T0 + timedelta(days=day), amount) for day, amount in history]
    now = T0 + timedelta(days=today)
    standing = tier([d for d in dated if d[0] <= now], PROGRAMME, now)
    names = [step.code for step in PROGRAMME.ladder.levels]

    def later(days):
        return names.index(tier([d for d in dated if d[0] <= now], PROGRAMME, now + timedelta(days=days)).tier)

    held = names.index(standing.tier)
    lost = next((n for n in range(366) if later(n) < held), None)
    assert (standing.holds_until and (standing.holds_until - now).days) == lost


def test_what_comes_back_the_same_moment_or_dated_too_early_still_returns_to_its_lots():
    for day in (2, 1):
        state = derive([lot("x", 100, 0, ends=30, account="b"), spent("s", -80, 2, scope=("a", "b")), spent("r", 80, day, scope=("a", "b"), reverses="s")], T0 + timedelta(days=3))  # fmt: skip
        assert {(lot.account, lot.remaining, lot.expires_at) for lot in state.lots.values() if lot.remaining} == {
            ("b", 20, T0 + timedelta(days=30)), ("b", 80, T0 + timedelta(days=30)),
        }  # fmt: skip


def test_a_fact_of_the_future_ends_no_lot_of_today():
    state = derive([lot("x", 100, 0, ends=30), lot("far", 5, 400)], T0 + timedelta(days=1))
    assert not state.expired


def test_a_deficit_that_was_paid_back_is_not_given_back_again_from_a_lot():
    history = [
        lot("x", 20, 0, ends=40),
        spent("s", -50, 1),
        spent("r1", 30, 2, reverses="s"),
        spent("r2", 20, 3, reverses="s"),
    ]
    state = derive(history, T0 + timedelta(days=4))
    assert state.deficits == {}
    assert [(lot.remaining, lot.expires_at) for lot in state.lots.values() if lot.remaining] == [
        (20, T0 + timedelta(days=40))
    ]


def test_points_given_back_follow_what_was_paid_less_discounts():
    sale_lines = [line(1, "MUG", 1, "60"), line(2, "BAG", 1, "40"), line(3, "D", 1, "-20")]
    back = given_back(100, sale_lines, [returned(line(1, "MUG", -1, "-60"), line(2, "D", -1, "12"))])
    assert back == {"R1": 60}
    assert given_back(100, sale_lines, [returned(line(1, "MUG", -1, "-80"))]) == {"R1": 100}


def test_both_halves_of_an_order_that_moves_to_another_record_are_posted():
    row = {
        "posting_key": "p|points|pos:1|earn",
        "unit": "points",
        "revision": 1,
        "kind": "earn",
        "occurred_at": T0,
        "reason": "spend",
        "order_id": "pos:1",
        "original_order_id": None,
    }
    there = posting({**row, "record_id": "r2", "difference": 20}, PROGRAMME)
    here = posting({**row, "record_id": "r1", "difference": -20, "reason": "order_moved"}, PROGRAMME)
    assert there.transaction_id != here.transaction_id
