"""Ladders: what reaches a level, keeps it, loses it; by hand and as properties."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.loyalty.duration import end_of, parse
from cdp.loyalty.ladder import Item, climb, standing
from cdp.loyalty.programme import Programme

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)


def programme(ladder, measure):
    levels = [
        {"code": "low", "enter_at": 0},
        {"code": "mid", "enter_at": 100},
        {"code": "top", "enter_at": 300, "keep_at": 200},
    ]
    return Programme.model_validate(
        {
            "programme": "p", "version": "1", "currency": "EUR", "units": [{"code": "u"}],
            "measures": [{"code": "m", "unit": "u", **measure}], "ladders": [{"code": "l", "measure": "m", "levels": levels, **ladder}],
        }
    )  # fmt: skip


def day(number, hour=0):
    return T0 + timedelta(days=number, hours=hour)


def at(rules, items, now):
    return climb(items, rules, rules.ladder, now)


def item(number, amount, known=None):
    return Item(day(number if known is None else known), day(number), amount)


ROLLING = {"window": "rolling", "length": "P100D"}
YEAR = {"window": "calendar_year"}


@pytest.mark.parametrize(
    ("ladder", "measure", "items", "moments"),
    [
        pytest.param({}, ROLLING, [(0, 100), (50, 100)], {0: "mid", 99: "mid", 100: "mid", 149: "mid", 150: "low"}, id="while qualified"),
        pytest.param({"grace": "P30D"}, ROLLING, [(0, 100)], {100: "mid", 129: "mid", 130: "low"}, id="grace"),
        pytest.param({"grace": "P30D"}, ROLLING, [(0, 100), (120, 100)], {119: "mid", 130: "mid", 219: "mid", 249: "mid", 250: "low"}, id="kept within the grace"),
        pytest.param({"downgrade": "one_step"}, ROLLING, [(0, 300)], {99: "top", 100: "low"}, id="one step after another where there is no grace"),
        pytest.param({"downgrade": "one_step", "grace": "P10D"}, ROLLING, [(0, 300)], {109: "top", 110: "mid", 119: "mid", 120: "low"}, id="one step a grace"),
        pytest.param({"downgrade": "never"}, ROLLING, [(0, 300)], {500: "top"}, id="never"),
        pytest.param({}, ROLLING, [(0, 100), (30, 200)], {99: "top", 100: "top", 130: "low"}, id="keep_at keeps with less than it took"),
        pytest.param({"valid": "duration", "duration": "P200D"}, ROLLING, [(0, 100)], {199: "mid", 200: "low"}, id="holds its duration"),
        pytest.param({"valid": "duration", "duration": "P200D"}, ROLLING, [(0, 100), (150, 100)], {200: "mid", 399: "mid", 400: "low"}, id="earned again within it"),
        pytest.param({"valid": "calendar_year_end"}, YEAR, [(10, 300)], {364: "top", 365: "low"}, id="to the end of the year"),
        pytest.param({"valid": "next_calendar_year_end"}, YEAR, [(10, 300)], {365: "top", 729: "top", 730: "low"}, id="to the end of the next year"),
        pytest.param({"valid": "next_calendar_year_end"}, YEAR, [(10, 300), (400, 120)], {729: "top", 730: "mid", 1095: "mid", 1096: "low"}, id="what the next year is worth"),
        pytest.param({"upgrade": "period_end", "valid": "next_calendar_year_end"}, YEAR, [(10, 300)], {300: "low", 365: "top", 729: "top", 730: "low"}, id="raised with the year"),
        pytest.param({"upgrade": "period_end", "valid": "calendar_year_end"}, YEAR, [(10, 300)], {364: "low", 365: "top", 729: "top", 730: "low"}, id="the year before decides"),
        pytest.param({"upgrade": "period_end", "valid": "next_calendar_year_end"}, YEAR, [(10, 120), (400, 350)], {365: "mid", 729: "mid", 730: "top"}, id="raised and not only kept"),
        pytest.param({"valid": "next_calendar_year_end", "grace": "P90D"}, YEAR, [(10, 300), (400, 120)], {730: "top", 819: "top", 820: "mid"}, id="a grace costs nothing"),
        pytest.param({}, {"window": "anniversary"}, [(10, 60), (200, 60)], {199: "low", 200: "mid", 374: "mid", 375: "low"}, id="the member's own year"),
        pytest.param({}, {"window": "lifetime"}, [(0, 100)], {5000: "mid"}, id="a lifetime"),
        pytest.param({"valid": "duration", "duration": "P100D"}, {"window": "since_tier"}, [(0, 100), (50, 99)], {99: "mid", 100: "low"}, id="since the level: not enough"),
        pytest.param({"valid": "duration", "duration": "P100D"}, {"window": "since_tier"}, [(0, 100), (50, 100)], {100: "mid", 199: "mid"}, id="since the level: enough"),
    ],
)  # fmt: skip
def test_levels_by_hand(ladder, measure, items, moments):
    rules = programme(ladder, measure)
    made = [item(number, amount) for number, amount in items]
    # looked at noon of the day, when items count; years end at midnight, so those days are the first of the new year
    found = {number: at(rules, made, day(number)).level.code for number in moments}
    assert found == moments


def test_a_return_of_january_takes_the_level_that_december_gave():
    rules = programme({"valid": "next_calendar_year_end"}, YEAR)
    bought, returned = item(350, 120), item(350, -50, known=380)
    assert at(rules, [bought, returned], day(379)).level.code == "mid", "nobody knew then"
    assert at(rules, [bought, returned], day(380)).level.code == "low"
    assert at(rules, [item(345, 30), item(346, 30), bought, returned], day(380)).level.code == "mid", (
        "what is left is enough"
    )


def test_standing_says_what_is_missing_and_until_when():
    rules = programme({"valid": "next_calendar_year_end"}, YEAR)
    found = standing(at(rules, [item(10, 320), item(400, 50)], day(401)))
    assert (found.tier, found.qualifying_points, found.next_tier) == ("top", 50, None)
    assert found.holds_until == datetime(2028, 1, 1, tzinfo=UTC)
    assert found.points_to_keep == 150, "keep_at 200, 50 so far this year"
    low = standing(at(rules, [], day(5)))
    assert (low.tier, low.next_tier, low.points_to_next, low.holds_until) == ("low", "mid", 100, None)


histories = st.lists(st.tuples(st.integers(0, 700), st.integers(-150, 250), st.integers(0, 90)), max_size=12)
ladders = st.sampled_from(
    [
        ({}, ROLLING), ({"grace": "P30D", "downgrade": "one_step"}, ROLLING), ({"valid": "duration", "duration": "P6M"}, ROLLING),
        ({"valid": "next_calendar_year_end"}, YEAR), ({"valid": "calendar_year_end"}, YEAR), ({}, {"window": "anniversary"}),
        ({"upgrade": "period_end", "valid": "next_calendar_year_end"}, YEAR), ({}, {"window": "lifetime"}),
    ]
)  # fmt: skip


@given(ladders, histories, st.randoms(), st.integers(0, 900))
def test_a_level_is_a_pure_function_of_dated_items(ladder, history, random, today):
    rules = programme(*ladder)
    items = [Item(day(number + late), day(number), amount) for number, amount, late in history]
    shuffled = list(items)
    random.shuffle(shuffled)
    whole, other = at(rules, items, day(today)), at(rules, shuffled, day(today))
    assert (whole.level, whole.until, whole.falls_at) == (other.level, other.until, other.falls_at)
    stopped = climb([], rules, rules.ladder, day(0))
    for thing in sorted(i for i in items if i.known_from <= day(today)):
        stopped.walk(thing.known_from - timedelta(hours=1))  # looked at in between: looking changes nothing
        stopped.add(thing)
    stopped.walk(day(today))
    assert (stopped.level, stopped.until) == (whole.level, whole.until)


@given(ladders, histories, st.integers(0, 900))
def test_the_day_a_level_is_lost_is_the_first_moment_it_is_not_held(ladder, history, today):
    rules = programme(*ladder)
    items = [Item(day(number), day(number), amount) for number, amount, _ in history if number <= today]
    way = at(rules, items, day(today))
    lost = way.lost_at()
    index = [level.code for level in rules.ladder.levels].index
    if lost is None:
        if way.height:
            assert index(at(rules, items, day(today + 4000)).level.code) >= way.height
    else:
        assert at(rules, items, lost - timedelta(microseconds=1)).height >= way.height
        assert at(rules, items, lost).height < way.height


@given(ladders, histories, st.integers(0, 900), st.floats(0, 0.999))
def test_until_the_moment_that_is_told_time_alone_changes_nothing(ladder, history, today, share):
    rules = programme(*ladder)
    items = [Item(day(number), day(number), amount) for number, amount, _ in history if number <= today]
    now = day(today)
    way = at(rules, items, now)
    until = way.stands_until() or now + timedelta(days=4000)
    assert until > now
    later = at(rules, items, now + share * (until - now))
    assert (standing(later), later.height, later.since) == (standing(way), way.height, way.since)


@pytest.mark.parametrize(
    ("text", "after"),
    [("P1M", "2026-02-28T12:00"), ("P1Y", "2027-01-31T12:00"), ("P2W", "2026-02-14T12:00"), ("PT90M", "2026-01-31T13:30"), ("P1Y2M3DT4H", "2027-04-03T16:00")],
)  # fmt: skip
def test_durations_count_calendar_months(text, after):
    rules = programme({}, ROLLING)
    assert parse(text).after(datetime(2026, 1, 31, 12, tzinfo=UTC), rules.zone) == datetime.fromisoformat(
        f"{after}+00:00"
    )


@pytest.mark.parametrize("text", ["P", "PT", "P1", "1M", "P1.5M", "P1YT", "", "P-1D", 5])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="ISO 8601"):
        parse(text)


def test_days_are_local_days_when_the_clock_changes():
    from zoneinfo import ZoneInfo

    london = ZoneInfo("Europe/London")
    saturday = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert parse("P1D").after(saturday, london) == datetime(2026, 3, 29, 11, tzinfo=UTC)
    assert end_of(datetime(2026, 3, 29, 10, tzinfo=UTC), "day", london) == datetime(2026, 3, 29, 23, tzinfo=UTC)
    assert end_of(datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "year", ZoneInfo("Asia/Shanghai")) == datetime(
        2027, 12, 31, 16, tzinfo=UTC
    )
