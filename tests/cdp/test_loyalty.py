"""The ledger's arithmetic: what orders earn, what returns take back, how lots are drawn."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.loyalty.lots import Entry, derive
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Line, Return, allocate, clawbacks, earn, tier

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PROGRAMME = Programme.model_validate(
    {
        "programme": "p", "version": "1", "unit": "points", "currency": "GBP",
        "earn": {"points_per_unit": 1, "exclude_skus": ["POST"]},
        "tiers": [{"name": "bronze", "points": 0}, {"name": "silver", "points": 100}, {"name": "gold", "points": 500}],
    }
)  # fmt: skip


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


entries = st.lists(
    st.builds(
        lambda amount, day, order, number: Entry(f"e{number:04d}", amount, T0 + timedelta(days=day), order),
        st.integers(-200, 200), st.integers(0, 50), st.sampled_from([None, "o1", "o2"]), st.integers(0, 5000),
    ),
    max_size=15, unique_by=lambda e: e.entry_id,
)  # fmt: skip


@given(entries, st.randoms())
def test_lots_less_deficits_are_the_balance_are_the_entries(history, random):
    state = derive(history)
    assert state.balance == sum(e.amount for e in history)
    assert all(0 <= lot.remaining <= lot.entry.amount for lot in state.lots)
    assert all(amount > 0 for amount in state.deficits.values())
    by_debit = {e.entry_id: -e.amount for e in history if e.amount < 0}
    for debit, amount in by_debit.items():
        drawn = sum(taken for (d, _), taken in state.allocations.items() if d == debit)
        assert drawn + state.deficits.get(debit, 0) == amount
    shuffled = list(history)
    random.shuffle(shuffled)
    assert derive(shuffled).allocations == state.allocations


def test_lots_are_drawn_soonest_expiring_first_and_a_clawback_from_its_own_order():
    soon = Entry("b", 50, T0 + timedelta(days=1), "o2", T0 + timedelta(days=30))
    late = Entry("a", 50, T0, "o1")
    spent = derive([late, soon, Entry("c", -30, T0 + timedelta(days=2))])
    assert spent.allocations == {("c", "b"): 30}
    clawed = derive([late, soon, Entry("c", -30, T0 + timedelta(days=2), "o1")])
    assert clawed.allocations == {("c", "a"): 30}


def test_a_later_credit_absorbs_the_deficit():
    state = derive([Entry("d", -70, T0), Entry("c", 100, T0 + timedelta(days=1))])
    assert state.deficits == {}
    assert state.lots[0].remaining == 30


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
    with pytest.raises(ValueError, match="tiers start at 0"):
        Programme.model_validate(PROGRAMME.model_dump() | {"tiers": tiers})
