"""Tables kept by difference: only changed rows are written, readers learn which, and nothing is missed."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.lake import delta, register
from cdp.lake.build import Built, fingerprint, refresh
from cdp.settings import Settings
from cdp.workspace import open_workspace
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
    put(lake, [(f"o{n}", "a") for n in range(delta.FEW)])
    turn = delta.newest(lake)
    put(lake, [(f"p{n}", "b") for n in range(delta.FEW)])
    assert told(lake, turn) is False
    assert lake.scalar("select count(*) from core__things") == delta.FEW


def test_a_small_table_tells_each_row_that_changed_however_large_a_share_they_are(lake):
    """The first decisions of stewards would each have everything clustered again."""
    put(lake, [("a", "1")])
    turn = delta.newest(lake)
    put(lake, [("a", "1"), ("b", "2"), ("c", "3")])
    assert told(lake, turn)


def test_a_reader_of_another_basis_or_without_a_turn_reads_everything(lake):
    put(lake, [("a", "1")])
    assert delta.last_read(lake, "core__things", "same") is not None
    assert delta.last_read(lake, "core__things", "other") is None
    assert delta.last_read(lake, "core__unheard_of", "same") is None


def test_rows_that_stand_twice_are_kept_twice(lake):
    put(lake, [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")])
    put(lake, [("a", "1"), ("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")])
    assert sorted(lake.rows("from lake.main.core__things")) == [
        ("a", "1"),
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("d", "4"),
    ]
    put(lake, [("a", "1"), ("b", "2"), ("b", "2"), ("c", "3"), ("d", "4")])  # as many rows as before
    assert sorted(lake.rows("from lake.main.core__things")) == [
        ("a", "1"),
        ("b", "2"),
        ("b", "2"),
        ("c", "3"),
        ("d", "4"),
    ]


def test_a_failed_write_tells_nothing(lake):
    put(lake, [(f"o{n}", "a") for n in range(20)])
    turn, before = delta.newest(lake), lake.rows("from core__things order by all")
    with pytest.raises(Exception, match="no_such"):
        refresh(lake, "core__things", "bad", "same", ("no_such",), lambda: "select 'q' as owner, 'z' as thing")
    assert delta.newest(lake) == turn
    assert lake.rows("from core__things order by all") == before


def test_a_write_that_fails_after_it_has_told_leaves_the_turns_as_they_are_kept(lake):
    put(lake, [("a", "1")])

    def fail():
        delta.tell(lake, "core__things", {"owner": "select 'a' as owner"})
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        lake.write(fail, "t")
    assert delta.newest(lake) == lake.scalar("select max(turn) from ops__changed_keys")


def test_a_write_that_another_writer_was_faster_than_is_repeated_and_memory_holds_what_the_lake_does(lake, monkeypatch):
    put(lake, [(f"o{n}", "a") for n in range(20)])
    write, tries = delta.write, []
    with opened(open_workspace(Settings(home=lake.folder.parent))) as other:

        def slow(*arguments):
            found = write(*arguments)
            tries.append(found)
            if len(tries) == 1:
                theirs = "delete from lake.main.core__things where owner = 'o5'"
                other.lake.write(lambda: other.lake.rows(theirs), "meanwhile")
            return found

        monkeypatch.setattr(delta, "write", slow)
        put(lake, [(f"o{n}", "a") for n in range(1, 20)])
    assert len(tries) == 2
    assert len(lake.rows("from core__things")) == 19
    assert lake.rows("from core__things order by all") == lake.rows("from lake.main.core__things order by all")


def test_a_table_that_was_dropped_and_made_again_empty_is_made_whole(lake):
    put(lake, [("a", "1"), ("b", "2")])
    count = "select owner, count(*) as n from core__things group by owner"
    scope = lambda since: delta.Scoped("owner") if since.keys("touched", "core__things.owner") else None  # noqa: E731
    refresh(lake, "core__counted", "first", "counts", ("owner",), lambda: count, scope)
    note = ("core__counted", register.NOT_BUILT, "0:0", 0, "[]", "{}", "hand")
    lake.write(
        lambda: lake.rows("delete from lake.main.core__counted") and register.insert(lake, "ops__builds", [note]),
        "by hand",
    )
    lake.forget()
    refresh(lake, "core__counted", "second", "counts", ("owner",), lambda: count, scope)
    assert lake.rows("from lake.main.core__counted order by all") == [("a", 1), ("b", 1)]


def test_what_was_made_in_part_counts_the_rows_that_were_made(lake):
    put(lake, [(f"o{n}", "a") for n in range(50)])
    count = "select owner, count(*) as n from core__things group by owner"
    scope = lambda since: delta.Scoped("owner") if since.keys("touched", "core__things.owner") else None  # noqa: E731
    first = refresh(lake, "core__owners", "first", "owners", ("owner",), lambda: count, scope)
    put(lake, [(f"o{n}", "a") for n in range(50)] + [("o1", "b"), ("o2", "b")])
    again = refresh(lake, "core__owners", "second", "owners", ("owner",), lambda: count, scope)
    assert (first.rows, first.made) == (50, None)
    assert (again.rows, again.made, again.changed) == (50, 2, True)


ROWS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("12")), max_size=12)


@pytest.mark.long
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
        assert sorted(lake.rows("from core__counts")) == sorted(
            lake.rows(count.replace("core__things", "lake.main.core__things"))
        )
        assert not lake.rows(
            "select table_name from duckdb_columns() where database_name = 'temp' and regexp_matches(table_name, '^(part_of|whole|shadow)_')"
        )
