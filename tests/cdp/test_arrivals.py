"""Landing days and what is due: registered once, gathered, never launched twice."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.arrivals import GATHER, MANY, PATIENCE, QUIET, TRIES, Arrived, why_not
from cdp.sources.ingest import ingest
from cdp.sources.landing import seen
from cdp.store import landed
from tests.cdp.test_ingest import source
from tests.conftest import NOW

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def file(name, at, size=10):
    return ("shop", name, size, int(at.timestamp() * 1e9))


def test_nothing_new_is_found_before_a_run_is_launched():
    assert why_not(Arrived([]), T0, running=False, failed=0) == "nothing new"


def test_files_that_are_still_written_are_waited_for_but_not_for_ever():
    now = [file("a", T0), file("b", T0 - QUIET)]
    assert "still coming" in why_not(Arrived(now), T0 + QUIET / 2, running=False, failed=0)
    assert why_not(Arrived(now), T0 + QUIET, running=False, failed=0) == ""
    kept_coming = [file("a", T0), file("b", T0 - PATIENCE)]
    assert why_not(Arrived(kept_coming), T0 + QUIET / 2, running=False, failed=0) == ""


def test_sent_events_are_gathered_for_a_minute_or_until_they_are_many():
    few = Arrived([], 3, T0, T0)
    assert "wait a minute" in why_not(few, T0 + GATHER / 2, running=False, failed=0)
    assert why_not(few, T0 + GATHER, running=False, failed=0) == ""
    assert why_not(Arrived([], MANY, T0, T0), T0, running=False, failed=0) == ""


def test_a_run_under_way_and_an_arrival_that_failed_too_often_start_nothing():
    old = Arrived([file("a", T0 - DAY)])
    assert "under way" in why_not(old, T0, running=True, failed=0)
    assert why_not(old, T0, running=False, failed=TRIES - 1) == ""
    assert "cdp run" in why_not(old, T0, running=False, failed=TRIES)


def test_a_model_that_was_promoted_is_a_reason_for_a_run_at_once():
    assert why_not(Arrived([], model="abc"), T0, running=False, failed=0) == ""


def test_a_run_that_failed_is_a_reason_for_another_until_they_are_too_many():
    assert why_not(Arrived([], unfinished="r1"), T0, running=False, failed=0) == ""
    assert "failed" in why_not(Arrived([], unfinished="r1"), T0, running=False, failed=TRIES)
    assert Arrived([], unfinished="r1").key != Arrived([], unfinished="r2").key


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 99)), max_size=5), st.integers(0, 5))
def test_the_same_arrival_has_the_same_name_and_another_one_another(files, events):
    made = Arrived([file(name, T0, size) for name, size in files], events, T0, T0)
    assert made.key == Arrived(list(made.files), events, T0, T0).key
    assert made.key != Arrived([*made.files, file("one more", T0)], events, T0, T0).key
    assert made.key != Arrived(made.files, events + 1, T0, T0).key


def test_a_file_keeps_its_landing_day_until_its_content_is_another(platform):
    definition = source("kept")
    folder = platform.workspace.path("landing", "kept")
    folder.mkdir()
    folder.joinpath("a.jsonl").write_text('{"id": "1"}\n')
    look = lambda: seen(platform.workspace.path("landing"), [definition])  # noqa: E731
    assert landed.register(platform.store, look(), T0) == {date(2026, 3, 1)}
    assert landed.register(platform.store, look(), T0 + DAY) == set()
    assert landed.unread(platform.store) == look()
    landed.settle(platform.store, look(), T0 + DAY)
    assert landed.unread(platform.store) == []
    assert landed.of(platform.store, "kept") == {"a.jsonl": T0}
    folder.joinpath("a.jsonl").write_text('{"id": "1"}\n{"id": "2"}\n')
    assert landed.register(platform.store, look(), T0 + 2 * DAY) == {date(2026, 3, 3)}
    assert landed.unread(platform.store) == look()
    assert date(2026, 3, 3) in landed.days(platform.store)


def test_a_file_that_is_replaced_while_it_is_read_is_not_taken_for_read(platform):
    before = [("s", "a", 1, 1), ("s", "b", 1, 1), ("s", "c", 1, 1), ("s", "d", 1, 1)]
    after = [("s", "a", 1, 1), ("s", "b", 2, 2), ("s", "c", 2, 2), ("s", "d", 1, 1)]
    assert landed.read_whole({"a", "b", "c"}, before, after, {"c"}) == [("s", "a", 1, 1), ("s", "c", 2, 2)], "c was redacted by ourselves"


def test_a_file_that_we_redact_keeps_its_landing_day(platform):
    there = ("redacted", "a.jsonl", 10, 1)
    landed.register(platform.store, [there], T0)
    landed.settle(platform.store, [there], T0)
    landed.rewritten(platform.store, there, ("redacted", "a.jsonl", 8, 2))
    assert landed.register(platform.store, [("redacted", "a.jsonl", 8, 2)], T0 + DAY) == set()
    assert landed.of(platform.store, "redacted") == {"a.jsonl": T0}
    landed.rewritten(platform.store, there, ("redacted", "a.jsonl", 7, 3))
    assert landed.register(platform.store, [("redacted", "a.jsonl", 7, 3)], T0 + DAY) == {date(2026, 3, 2)}, "somebody else's is another file"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_range_of_landing_days_reads_those_files_alone_in_their_order_and_again_changes_nothing(platform, at_once):
    definition = source(f"week{int(at_once)}")
    landing = platform.workspace.path("landing")
    landing.joinpath(definition.source).mkdir()
    files = {"c.jsonl": T0, "a.jsonl": T0 + DAY, "b.jsonl": T0 + 2 * DAY}
    for name in files:  # one key, three contents: who comes first stands, the others are conflicts
        landing.joinpath(definition.source, name).write_text(f'{{"id": "1", "n": "{ord(name[0])}"}}\n')
    ranges = [files] if at_once else [{"c.jsonl": T0}, {"a.jsonl": T0 + DAY}, {"b.jsonl": T0 + 2 * DAY}]
    for wanted in [*ranges, files]:
        done = ingest(platform.lake, definition, landing, NOW, print, None, wanted)
        assert {item.file for item in done.files} <= set(wanted)
    assert not done.files
    assert platform.lake.rows(f"select n, _landed_at from {definition.raw_table} where id = '1'") == [(ord("c"), T0)]
