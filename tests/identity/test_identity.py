"""Who is who: the guards on shared evidence, the clusters, and ids that last."""

import uuid
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.ids import assign, uuid7
from identity.names import compatible, people
from identity.train import complete, threshold_for, unlearnt_comparisons

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
    parameters, imputed = complete(settings)
    assert imputed == ["birth_date: near (m)"]
    assert [0 < value < 1 for value in parameters["birth_date"][0]] == [True, True]


def test_a_comparison_of_which_nothing_was_learnt_is_found():
    learnt = {"output_column_name": "first", "comparison_levels": [{"m_probability": 0.9}]}
    null = {"is_null_level": True, "m_probability": 0.5}
    untaught = {"output_column_name": "city", "comparison_levels": [null, {"u_probability": 0.1}]}
    assert unlearnt_comparisons({"comparisons": [learnt, untaught]}, ["first", "city", "gone"]) == ["city", "gone"]


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=60), st.floats(0.5, 0.999))
def test_the_threshold_rises_with_the_precision_that_is_asked_for(probabilities, precision):
    found = np.array(probabilities)
    loose, strict = threshold_for(found, precision * 0.9), threshold_for(found, precision)
    assert 0.0 <= loose <= strict
    assert threshold_for(found, None) == 0.0
