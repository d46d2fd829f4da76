"""Who is who: the guards on shared evidence, the clusters, and ids that last."""

import math
import uuid
from datetime import UTC, datetime

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from splink.internals.em_training_session import EMTrainingSession
from splink.internals.exceptions import SplinkException

from cdp.identity_rules import IdentityRules
from cdp.lake.engine import Lake
from identity import fields, limits, negative, train, usual
from identity.guards import MOST, two_births
from identity.ids import assign, uuid7
from identity.names import compatible, people
from identity.parameters import complete, unlearnt_comparisons
from identity.train import threshold_for
from tests.identity.test_files import without_names

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
    [
        ("alfred", "alice"),
        ("thomas", "edward"),
        ("james", "annie"),
        ("leihua", "mei"),
        ("william", "findlay"),
        ("jianguo", "jianjun"),
        ("zhi qiang", "zhigang"),
    ],
)
def test_names_of_two_people(left, right):
    assert not compatible(left, right)


def test_the_people_behind_one_phone():
    assert people(["arthur", "art", "alice", "arthurr"]) == [["alice"], ["art", "arthur", "arthurr"]]


def test_an_initial_that_may_be_several_peoples_joins_none_of_them():
    assert people(["j", "james", "john"]) == [["j"], ["james"], ["john"]]
    assert people(["j", "john", "mary"]) == [["j", "john"], ["mary"]]


@pytest.mark.parametrize(
    ("left", "right", "one"),
    [
        ("jianguo", "jianjun", False),
        ("mark", "mary", False),
        ("daniel", "danielle", False),
        ("colin", "colim", True),
        ("art", "arthur", True),
        ("j", "john", True),
    ],
)
def test_with_other_birth_dates_only_one_name_is_one_person(left, right, one):
    assert two_births(left, "1980-05-03", right, "1955-11-27") is not one
    assert not two_births(left, "1980-05-03", right, "1980-05-08"), "a slip"


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


def test_ties_go_to_the_older_id_then_to_the_smaller_cluster():
    assert assign(["c1"], [("c1", "B", 2), ("c1", "A", 2)], [], counter()) == {"c1": "A"}
    assert assign(["c2", "c1"], [("c2", "A", 2), ("c1", "A", 2)], [], counter()) == {"c1": "A", "c2": "new0"}


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


def test_what_the_data_never_showed_is_worth_what_it_usually_is_and_listed():
    """Two guessed small numbers, one over the other, once made a swapped name worth more than the same one."""
    comparison = fields.comparisons(frozenset({"first", "words"}))[0]
    levels = [
        {"label_for_charts": test.label, "m_probability": 0.2, "u_probability": 0.01} for test in comparison.tests[1:]
    ]
    short, similar, among, initial = (
        next(level for level in levels if level["label_for_charts"].startswith(text))
        for text in ("a short", "similar", "among", "initial")
    )
    short |= {"m_probability": "not observed", "u_probability": "not observed"}
    similar |= {"m_probability": None, "u_probability": 0.004}
    among |= {"m_probability": 1e-9, "u_probability": 0.0001}
    initial |= {"m_probability": 0.003, "u_probability": 0.0}
    null = {"label_for_charts": "null", "is_null_level": True}
    parameters, imputed = complete(
        {"comparisons": [{"output_column_name": "first", "comparison_levels": [null, *levels]}]}, [comparison]
    )
    assert len(imputed) == 3
    bits = {
        level["label_for_charts"]: math.log2(m / u) for level, (m, u) in zip(levels, parameters["first"], strict=True)
    }
    usually = {
        test.label: math.log2(m / u) for test, m, u in zip(comparison.tests[1:], *usual.shares(comparison), strict=True)
    }
    for level in (short, similar):
        assert bits[level["label_for_charts"]] == pytest.approx(usually[level["label_for_charts"]], abs=0.01)
    assert bits[among["label_for_charts"]] == 0, "hardly a match shows it"
    assert bits[initial["label_for_charts"]] == pytest.approx(math.log2(0.003 / 1e-5)), (
        "matches show it, and nobody else"
    )
    assert all(0 < value < 1 for level in parameters["first"] for value in level)


@pytest.mark.parametrize("error", [SplinkException("no pairs"), ValueError("m too small")])
def test_a_session_that_fails_leaves_the_model_its_fields(monkeypatch, error):
    """Splink takes the fields that a session blocks on out of the linker's own settings, and puts them back only at its end."""
    failed = []

    def session(self, *args, real=EMTrainingSession._train, **kwargs):
        if "birth_date" in self._blocking_rule_for_training.blocking_rule_sql:
            failed.append(self)
            raise error
        return real(self, *args, **kwargs)

    monkeypatch.setattr(EMTrainingSession, "_train", session)
    made = (
        without_names(400)
        .rename({"dob": "birth_date", "postcode": "postal_code"})
        .select("birth_date", "email", "phone", "postal_code")
    )
    made = made.with_columns(
        birth_full="birth_date",
        birth_year=pl.col("birth_date").str.slice(0, 4),
        email_user="email",
        email_local="email",
        district="postal_code",
    )
    with duckdb.connect() as connection:
        connection.register("read", made.with_row_index("node").with_columns(records=1).to_arrow())
        connection.execute("create table people as from read")
        found = train.train(connection, "people")
    assert failed
    assert set(found.parameters) == {"birth_date", "email", "phone", "postal_code"}
    assert found.prior == pytest.approx(400 / (800 * 799 / 2), rel=0.4)


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


def test_what_one_record_came_to_hold_is_no_breach_of_its_customer():
    """An account of three addresses over the years: taking the person's other records from it would mend nothing."""
    rules = IdentityRules.model_validate({"limits": {"email": {"any": {"most": 2, "priority": 5}}}})
    account = [(0, "email", "web", f"e{n}@post.cn") for n in range(3)]
    label = np.zeros(3, dtype=np.int64)

    def breached(held):
        frame = pl.DataFrame(held, schema=["no", "type", "source", "value"], orient="row")
        assert limits._broken(held, [0, 0, 0], rules) == bool(limits._breaches(frame, label, rules))
        return limits._broken(held, [0, 0, 0], rules)

    assert not breached([*account, (1, "email", "pos", "e1@post.cn")])
    assert breached([*account, (1, "email", "pos", "e3@post.cn")])
    assert breached([(at, "email", "pos", f"e{at}@post.cn") for at in range(3)])


def test_of_too_many_people_to_compare_the_rules_say_so():
    """Whoever clusters asks again in what they fell into."""
    crowd = """
        create or replace table core__payloads as select 'r' || lpad(i::varchar, 5, '0') as record_id,
            case i when 0 then 'oscar' when 1 then 'freya' else 'oscar' end as given_key, (date '1950-01-02' + 40 * i::int)::varchar as birth_full
        from range($people) t(i)
    """
    with duckdb.connect() as connection:
        lake = Lake(connection, "test")
        for people, crowded in ((3, False), (MOST, False), (MOST + 1, True)):
            connection.execute(crowd, {"people": people})
            connection.execute(
                "create or replace table core__contact_records as select record_id, 'web' as source, null::varchar as identifier from core__payloads"
            )
            connection.execute(
                "create or replace temp table record_numbers as select record_id, row_number() over (order by record_id) - 1 as no from core__payloads"
            )
            cuts, said = negative.rules(lake, np.zeros(people, dtype=np.int64), IdentityRules())
            assert said is crowded
            assert (len(cuts) > 0) is not crowded
