"""What rules give: money, articles, fixed amounts, multiples; conditions, limits, stacking, levels, days."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.loyalty.earning import Occasion, Tally, earn
from cdp.loyalty.expiry import end, first_end, schedule
from cdp.loyalty.lots import Lot
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Line
from cdp.loyalty.terms import Expiry, Level

AT = datetime(2026, 11, 11, 12, tzinfo=UTC)
BASE = {"code": "base", "unit": "u", "per_money": {"units": 1, "amount": "1.00"}}
SALE = [Line(1, "MUG", 3, Decimal("30.50")), Line(2, "BAG", 1, Decimal("10.00")), Line(3, "POST", 1, Decimal("5.00"))]


def programme(*rules, scale=0, zone="UTC", expiry=None):
    return Programme.model_validate(
        {"programme": "p", "version": "1", "currency": "EUR", "timezone": zone, "units": [{"code": "u", "scale": scale, "expiry": expiry or {}}], "rules": list(rules),
         "measures": [{"code": "m", "unit": "u"}], "ladders": [{"code": "l", "measure": "m", "levels": [{"code": "low", "enter_at": 0}, {"code": "top", "enter_at": 9, "earn_multiplier": "1.5"}]}]}
    )  # fmt: skip


def given_by(*rules, lines=SALE, scale=0, **about):
    occasion = Occasion(about.pop("at", AT), **about)
    return earn(lines, programme(*rules, scale=scale), occasion)


TOP = Level(code="top", enter_at=9, earn_multiplier=Decimal("1.5"))


@pytest.mark.parametrize(
    ("rules", "about", "points"),
    [
        pytest.param([BASE], {}, 45, id="money, rounded down once"),
        pytest.param([BASE], {"scale": 2}, 4550, id="in the smallest part"),
        pytest.param([{**BASE, "exclude_skus": ["post"]}], {}, 40, id="articles that earn nothing"),
        pytest.param([{**BASE, "per_money": {"units": 3, "amount": "10.00"}}], {}, 13, id="three for each ten"),
        pytest.param([{"code": "n", "unit": "u", "per_item": 2}], {}, 10, id="articles"),
        pytest.param([{"code": "n", "unit": "u", "per_item": 2, "where": {"skus": ["MUG"]}}], {}, 6, id="some articles"),
        pytest.param([{"code": "n", "unit": "u", "fixed": 7}], {}, 7, id="at once"),
        pytest.param([{"code": "n", "unit": "u", "fixed": 7, "where": {"amount_from": "45.50"}}], {}, 7, id="from an amount"),
        pytest.param([{"code": "n", "unit": "u", "fixed": 7, "where": {"amount_from": "45.51"}}], {}, 0, id="below an amount"),
        pytest.param([{"code": "n", "unit": "u", "fixed": 7, "where": {"source": ["web"]}}], {"source": "pos"}, 0, id="another source"),
        pytest.param([{"code": "n", "unit": "u", "fixed": 7, "where": {"source": ["web"]}}], {"source": "web"}, 7, id="this source"),
        pytest.param([{"code": "n", "unit": "u", "fixed": 7, "where": {"skus": ["HAT"]}}], {}, 0, id="an article that is not there"),
        pytest.param([{"code": "n", "unit": "u", "fixed": 7, "where": {"level": ["top"]}}], {}, 0, id="another level"),
        pytest.param([{"code": "n", "unit": "u", "fixed": 7, "where": {"level": ["top"]}}], {"level": TOP}, 7, id="this level"),
        pytest.param([{**BASE, "by_tier": True}], {"level": TOP}, 68, id="by level: 45.5 × 1.5"),
        pytest.param([{**BASE, "by_tier": True}, {"code": "n", "unit": "u", "fixed": 7}], {"level": TOP}, 75, id="by level only what says so"),
        pytest.param([BASE, {"code": "x", "unit": "u", "times": 4}], {}, 182, id="four times"),
        pytest.param([{"code": "x", "unit": "u", "times": 4, "priority": 1}, BASE], {}, 182, id="multiples come last, wherever they stand"),
        pytest.param([BASE, {"code": "x", "unit": "u", "times": 2, "where": {"skus": ["BAG"]}}], {}, 55, id="twice for one article"),
        pytest.param([BASE, {"code": "x", "unit": "u", "times": 2, "stack": "best"}, {"code": "y", "unit": "u", "times": 3, "stack": "best"}], {}, 136, id="the best multiple"),
        pytest.param([BASE, {"code": "x", "unit": "u", "times": 2}, {"code": "y", "unit": "u", "times": 3}], {}, 182, id="multiples add up: 45.5 + 45.5 + 91"),
        pytest.param([{"code": "a", "unit": "u", "fixed": 5, "stack": "best"}, {"code": "b", "unit": "u", "fixed": 9, "stack": "best"}], {}, 9, id="the best amount"),
        pytest.param([{"code": "a", "unit": "u", "fixed": 5, "stack": "stop"}, BASE], {}, 5, id="nothing after a stop"),
        pytest.param([{"code": "a", "unit": "u", "fixed": 5, "stack": "stop", "where": {"source": ["web"]}}, BASE], {}, 45, id="a stop that does not hold"),
        pytest.param([{"code": "a", "unit": "u", "fixed": 5, "stack": "stop", "priority": 200}, {**BASE, "priority": 1}], {}, 50, id="by priority"),
        pytest.param([BASE, {"code": "d11", "unit": "u", "times": 2, "active": {"days": ["11-11", "06-18"]}}], {}, 91, id="double eleven"),
        pytest.param([BASE, {"code": "d11", "unit": "u", "times": 2, "active": {"days": ["06-18"]}}], {}, 45, id="another day"),
        pytest.param([BASE, {"code": "md", "unit": "u", "times": 2, "active": {"month_days": [11]}}], {}, 91, id="a member day of every month"),
        pytest.param([BASE, {"code": "w", "unit": "u", "times": 2, "active": {"start": "2026-11-11", "end": "2026-11-11"}}], {}, 91, id="both dates included"),
        pytest.param([BASE, {"code": "w", "unit": "u", "times": 2, "active": {"end": "2026-11-10"}}], {}, 45, id="over"),
        pytest.param([{"code": "r", "unit": "u", "event": "review", "fixed": 5}], {}, 0, id="another event"),
        pytest.param([{"code": "r", "unit": "u", "event": "review", "fixed": 5}], {"event": "review"}, 5, id="an event"),
        pytest.param([{"code": "r", "unit": "u", "event": "survey", "fixed": 5, "where": {"properties": {"answered": True}}}], {"event": "survey", "properties": {"answered": False}}, 0, id="what the event carries"),
    ],
)  # fmt: skip
def test_what_rules_give(rules, about, points):
    found = given_by(*rules, **about)
    assert found.points == points
    assert sum(found.by_rule.values()) == points
    assert not found.by_line or sum(found.by_line.values()) == points


def test_a_day_is_the_programmes_own():
    rule = {"code": "d11", "unit": "u", "fixed": 1, "active": {"days": ["11-11"]}}
    there = programme(rule, zone="Asia/Shanghai")
    for at, points in (("2026-11-10T15:59+00:00", 0), ("2026-11-10T16:00+00:00", 1), ("2026-11-11T16:00+00:00", 0)):
        assert earn(SALE, there, Occasion(datetime.fromisoformat(at))).points == points


@pytest.mark.parametrize(
    ("limit", "times", "given"),
    [
        ({"times": 1, "per": "day"}, ["0", "1", "24", "30"], [7, 0, 7, 0]),
        ({"times": 2, "per": "month"}, ["0", "24", "48", "480"], [7, 7, 0, 7]),
        ({"units": 10, "per": "ever"}, ["0", "1", "9999"], [7, 3, 0]),
        ({"times": 1, "per": "year"}, ["0", "1200", "1230"], [7, 0, 7]),
        ({"times": 1, "per": "week"}, ["0", "24", "120"], [7, 0, 7]),
        ({"times": 1, "per": "order"}, ["0", "0", "1"], [7, 0, 0]),
    ],
)
def test_limits_count_over_a_period(limit, times, given):
    rules, tally = programme({"code": "n", "unit": "u", "event": "visit", "fixed": 7, "limit": limit}), Tally()
    found = [
        earn([], rules, Occasion(AT + timedelta(hours=float(hours)), "visit", order_id="o1", tally=tally)).points
        for hours in times
    ]
    assert found == given


def test_what_was_granted_when_it_first_posted_stands():
    rules, tally = programme({"code": "n", "unit": "u", "fixed": 7, "limit": {"times": 1, "per": "day"}}), Tally()
    tally.note("n", "2026-11-11", 7)
    assert earn(SALE, rules, Occasion(AT, tally=tally)).points == 0
    assert earn(SALE, rules, Occasion(AT, tally=tally, granted=frozenset({"n"}))).points == 7
    assert earn(SALE, rules, Occasion(AT, tally=Tally(), granted=frozenset())).points == 0


lines = st.lists(st.builds(lambda n, sku, q, cents: Line(n, sku, q, Decimal(cents) / 100), st.integers(1, 99), st.sampled_from("ABC"), st.integers(1, 5), st.integers(-500, 9000)), max_size=6, unique_by=lambda line: line.line_no)  # fmt: skip
chosen = st.lists(
    st.sampled_from(
        [BASE, {"code": "f", "unit": "u", "fixed": 9}, {"code": "i", "unit": "u", "per_item": 2}, {"code": "x", "unit": "u", "times": "1.5", "stack": "best"},
         {"code": "y", "unit": "u", "times": 3, "stack": "best", "where": {"skus": ["A"]}}, {"code": "t", "unit": "u", "per_money": {"units": 2}, "by_tier": True, "exclude_skus": ["B"]}]
    ), max_size=5, unique_by=lambda rule: rule["code"],
)  # fmt: skip


@given(lines, chosen)
def test_points_are_never_negative_and_lie_whole_on_rules_and_lines(sold, rules):
    found = given_by(*rules, lines=sold, level=TOP)
    assert found.points >= 0
    assert sum(found.by_rule.values()) == found.points
    assert not found.by_line or sum(found.by_line.values()) == found.points


@pytest.mark.parametrize(
    ("expiry", "ends"),
    [
        ({"mode": "never"}, None),
        ({"mode": "after", "after": "P12M"}, "2027-11-11T12:00"),
        ({"mode": "after", "after": "P12M", "round_to": "day"}, "2027-11-12T00:00"),
        ({"mode": "after", "after": "P12M", "round_to": "month"}, "2027-12-01T00:00"),
        ({"mode": "after", "after": "P12M", "round_to": "year"}, "2028-01-01T00:00"),
        ({"mode": "inactivity", "after": "P18M"}, "2028-05-11T12:00"),
        ({"mode": "calendar", "dates": ["12-31"]}, "2027-01-01T00:00"),
        ({"mode": "calendar", "dates": ["03-31", "12-31"], "after": "P6M"}, "2028-01-01T00:00"),
        ({"mode": "calendar", "dates": ["02-29"]}, "2027-03-01T00:00"),
    ],
)
def test_the_end_of_what_is_earned(expiry, ends):
    found = end(Expiry.model_validate(expiry), AT, programme())
    assert found == (datetime.fromisoformat(f"{ends}+00:00") if ends else None)


def test_a_level_may_give_another_end_at_earning():
    rules = Programme.model_validate(
        {"programme": "p", "version": "1", "currency": "EUR", "units": [{"code": "u", "expiry": {"mode": "after", "after": "P6M"}}], "measures": [{"code": "m", "unit": "u"}],
         "ladders": [{"code": "l", "measure": "m", "levels": [{"code": "low", "enter_at": 0}, {"code": "top", "enter_at": 9, "expiry": {"u": {"mode": "after", "after": "P2Y"}}}]}]}
    )  # fmt: skip
    low, top = rules.ladder.levels
    assert first_end(rules, AT, low) == datetime(2027, 5, 11, 12, tzinfo=UTC)
    assert first_end(rules, AT, top) == datetime(2028, 11, 11, 12, tzinfo=UTC)


def test_the_schedule_of_what_ends_sums_to_what_is_open():
    lots = [Lot(str(n), "f", "a", 10, n, AT, AT, AT + timedelta(days=n // 2) if n else None) for n in range(5)]
    found = schedule([*lots, Lot("x", "f", "a", 5, 5, AT, AT, None)], AT)
    assert found == [(AT + timedelta(days=1), 5), (AT + timedelta(days=2), 4), (None, 5)]
