"""Breakage and revenue by the book, and what the reports say against plain sums."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.loyalty.breakage import Period, Recognised, allocate, curve, recognise

D = Decimal


def test_ifrs_15_illustrative_example_52_to_the_unit():
    """Sales of 100,000 with 10,000 points, each worth 1, of which 9,500 are expected to be redeemed."""
    goods, points = allocate(D(100_000), D(10_000) * D("0.95"))
    assert (goods, points) == (D(91_324), D(8_676))
    periods = [Period(D(4_500), D(9_500)), Period(D(8_500), D(9_700))]
    assert recognise(points, periods) == [Recognised(D(4_110), D(4_566)), Recognised(D(3_493), D(1_073))]


def test_what_is_never_redeemed_is_recognised_with_the_last_that_is():
    assert recognise(D(100), [Period(D(50), D(50))]) == [Recognised(D(100), D(0))]
    assert recognise(D(100), [Period(D(0), D(0))]) == [Recognised(D(100), D(0))]


@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 1000)), max_size=6))
def test_revenue_and_liability_always_sum_to_what_was_allocated(points, periods):
    found = recognise(D(points), [Period(D(redeemed), D(expected)) for redeemed, expected in periods])
    total = D(0)
    for one in found:
        total += one.revenue
        assert total + one.liability == points


def test_the_redemption_curve_by_hand():
    # 100 units: 20 spent on day 10; 30 still open at day 15 (censored); of the 50 that were left, 25 spent on day 20
    found = curve([(10, 20, 0), (15, 0, 30), (20, 25, 0), (30, 0, 25)])
    assert found == [(10, pytest.approx(0.2), 100), (20, pytest.approx(0.6), 50)]
    assert curve([]) == []


def test_without_censoring_the_curve_is_the_share_itself():
    assert [(age, round(share, 9)) for age, share, _ in curve([(1, 10, 0), (2, 30, 0), (9, 0, 60)])] == [
        (1, 0.1),
        (2, 0.4),
    ]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 50), st.integers(0, 50)), max_size=20))
def test_a_curve_rises_and_stays_below_one(ages):
    shares = [share for _, share, _ in curve(ages)]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 + 1e-9 for share in shares)
