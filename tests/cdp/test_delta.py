"""Tables kept by difference: only changed rows are written, readers learn which, and nothing is missed."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.lake import delta, register
from cdp.lake.build import Built, fingerprint, refresh
from tests.conftest import opened


@pytest.fixture(scope="module")
def lake(new_workspace):
    with opened(new_workspace()) as found:
        yield found.lake


def put(lake, rows, table="core__things", scope=None):
    """Keep a table of (owner, thing) at these rows."""
    values = " union all ".join(f"select '{owner}' as owner, '{thing}' as thing" for owner, thing in rows)
    query = values or "select '' as owner, '' as thing where false"
    return refresh(lake, table, repr(sorted(rows)), "same", ("owner", "thing"), lambda: query, scope)


def told(lake, turn, column="owner"):
    since = delta.Since(lake, turn)
    return since.keys("seen", f"core__things.{column}") and {key for (key,) in lake.rows("from seen")}


def test_only_changed_rows_are_told_and_the_version_is_that_of_the_content(lake):
    many = [(f"o{n}", f"t{n}") for n in range(50)]
    put(lake, many)
    turn = delta.newest(lake)
    assert put(lake, many) == Built("core__things", 50, changed=False)
    put(lake, [*many[:-1], ("o49", "other"), ("new", "x")])
    assert told(lake, turn) == {"o49", "new"}
    assert told(lake, turn, "thing") == {"t49", "other", "x"}
    assert told(lake, delta.newest(lake)) == set()
    count, total = lake.rows("select count(*), sum(hash(t)) from core__things as t")[0]
    assert register.entries(lake)["core__things"].version == f"{count}:{total}"


def test_a_table_made_anew_tells_everything(lake):
    put(lake, [(f"o{n}", "a") for n in range(20)])
    turn = delta.newest(lake)
    put(lake, [(f"p{n}", "b") for n in range(20)])
    assert told(lake, turn) is False
    assert lake.scalar("select count(*) from core__things") == 20


def test_a_reader_of_another_basis_or_without_a_turn_reads_everything(lake):
    put(lake, [("a", "1")])
    assert delta.last_read(lake, "core__things", "same") is not None
    assert delta.last_read(lake, "core__things", "other") is None
    assert delta.last_read(lake, "core__unheard_of", "same") is None


def test_rows_that_stand_twice_are_kept_twice(lake):
    put(lake, [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")])
    put(lake, [("a", "1"), ("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")])
    assert sorted(lake.rows("from lake.main.core__things")) == [("a", "1"), ("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    put(lake, [("a", "1"), ("b", "2"), ("b", "2"), ("c", "3"), ("d", "4")])  # as many rows as before
    assert sorted(lake.rows("from lake.main.core__things")) == [("a", "1"), ("b", "2"), ("b", "2"), ("c", "3"), ("d", "4")]


def test_a_failed_write_tells_nothing(lake):
    put(lake, [(f"o{n}", "a") for n in range(20)])
    turn, before = delta.newest(lake), lake.rows("from core__things order by all")
    with pytest.raises(Exception, match="no_such"):
        refresh(lake, "core__things", "bad", "same", ("no_such",), lambda: "select 'q' as owner, 'z' as thing")
    assert delta.newest(lake) == turn
    assert lake.rows("from core__things order by all") == before


ROWS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("12")), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(ROWS, min_size=1, max_size=4))
def test_a_reader_made_again_in_part_equals_one_made_whole(lake, steps):
    """The reader counts each owner's things; it is run after some of the steps only, as after a run that died."""
    count = "select owner, count(*) as n from core__things group by owner"

    def touched(since):
        held = "owner in (from touched)"
        return delta.Scoped("owner", {"core__things": held}) if since.keys("touched", "core__things.owner") else None

    for at, rows in enumerate(steps):
        put(lake, rows)
        if at % 2 and at + 1 < len(steps):
            continue
        mark = fingerprint(lake, ("core__things",), "counts")
        refresh(lake, "core__counts", mark, "counts", ("owner",), lambda: count, touched)
        assert sorted(lake.rows("from lake.main.core__counts")) == sorted(lake.rows(count))
        assert sorted(lake.rows("from core__counts")) == sorted(lake.rows(count.replace("core__things", "lake.main.core__things")))
        assert not lake.rows(
            "select 1 from duckdb_tables() where database_name = 'memory' and table_name = 'core__things'"
        )
