"""Who is who: the guards on shared evidence, the clusters, and ids that last."""

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.cluster import STRONGEST, clusters
from identity.ids import assign, uuid7
from identity.names import compatible, people
from identity.train import complete

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("art", "arthur"),
        ("bill", "william"),
        ("j", "john"),
        ("selina", "sekina"),
        ("colin", "collin"),
        ("mary ann", "mary"),
        (None, "x"),
        ("leihua", "leihua"),
    ],
)
def test_names_that_may_be_one_persons(left, right):
    assert compatible(left, right)
    assert compatible(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [("alfred", "alice"), ("thomas", "edward"), ("james", "annie"), ("leihua", "mei"), ("william", "findlay")],
)
def test_names_of_two_people(left, right):
    assert not compatible(left, right)


def test_the_people_behind_one_phone():
    assert people(["arthur", "art", "alice", "arthurr"]) == [["alice"], ["art", "arthur", "arthurr"]]


def ids_of(frame):
    return dict(frame.select("record_id", "cluster_id").iter_rows())


def test_components_join_chains_and_leave_others_alone():
    found = ids_of(clusters(["a", "b", "c", "d"], [("a", "b", 20), ("b", "c", 7)], 10))
    assert found == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_the_weight_by_which_a_part_hangs_on_the_core():
    frame = clusters(["a", "b", "c", "d"], [("a", "b", 20), ("b", "c", 7), ("a", "c", 6)], 10)
    assert dict(frame.select("record_id", "link_weight").iter_rows()) == {
        "a": STRONGEST,
        "b": STRONGEST,
        "c": 7,
        "d": STRONGEST,
    }


edges = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"), st.floats(6, 30)), max_size=12)


@given(edges, st.randoms())
def test_clusters_do_not_depend_on_the_order_of_edges(links, random):
    shuffled = [(b, a, w) if random.random() < 0.5 else (a, b, w) for a, b, w in links]
    random.shuffle(shuffled)
    assert clusters(list("abcdefgh"), links, 10).equals(clusters(list("abcdefgh"), shuffled, 10))


def test_no_records_no_clusters():
    assert clusters([], [], 10).is_empty()


def test_uuid7_is_a_sortable_version_7():
    made = [uuid.UUID(uuid7(datetime(2026, 3, day, tzinfo=UTC))) for day in (1, 2, 3)]
    assert all(i.version == 7 and i.variant == uuid.RFC_4122 for i in made)
    assert made == sorted(made)


def counter():
    numbers = iter(range(1000))
    return lambda: f"new{next(numbers)}"


def test_an_id_goes_where_most_of_its_records_are():
    present = [("c1", "A", 3), ("c2", "A", 1), ("c2", "B", 1)]
    assert assign(["c1", "c2"], present, [], counter()) == {"c1": "A", "c2": "B"}


def test_a_part_left_without_an_id_takes_back_the_retired_one_it_last_held():
    assert assign(["c1", "c2"], [("c1", "A", 3), ("c2", "A", 2)], [("c2", "OLD", 2), ("c1", "OLD", 3)], counter()) == {
        "c1": "A",
        "c2": "OLD",
    }


@given(
    st.dictionaries(
        st.integers(0, 30), st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(0, 8))), max_size=30
    )
)
def test_ids_are_never_shared_and_an_unchanged_partition_keeps_its_ids(records):
    clusters_, counts = {f"c{c}" for c, _ in records.values()}, {}
    for cluster, customer in records.values():
        if customer is not None:
            key = (f"c{cluster}", f"K{customer}")
            counts[key] = counts.get(key, 0) + 1
    chosen = assign(clusters_, [(*key, n) for key, n in counts.items()], [], counter())
    assert set(chosen) == clusters_
    assert len(set(chosen.values())) == len(chosen)
    again = assign(clusters_, [(cluster, customer, 1) for cluster, customer in chosen.items()], [], counter())
    assert again == chosen


def test_levels_the_data_never_showed_get_finite_weights_and_are_listed():
    level = {"label_for_charts": "near", "m_probability": None, "u_probability": 0.0}
    null = {"label_for_charts": "null", "is_null_level": True}
    settings = {"comparisons": [{"output_column_name": "birth_date", "comparison_levels": [null, level]}]}
    assert complete(settings) == ["birth_date: near (m)"]
    assert 0 < level["m_probability"] < 1
    assert 0 < level["u_probability"] < 1
