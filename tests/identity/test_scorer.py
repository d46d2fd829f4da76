"""The compiled scorer is Splink: the same tests on values, the same weights, the same decisions."""

import re
from dataclasses import replace

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import DamerauLevenshtein

from cdp.identity_rules import shipped_rules
from identity import blocking, fields, levels, lifecycle, scoring, train
from identity.files.mapping import guess
from identity.files.people import people
from identity.person import Described, values
from identity.scorer import Scorer, complete
from tests.identity import splink_weights

CHINESE = [
    ("伟", "王"),
    ("小明", "李"),
    ("曉明", "李"),
    ("文涛", "欧阳"),
    ("静", "郑"),
    ("丽丽", "陈"),
    ("Xiaoming", "Li"),
    ("Wei", "Wang"),
]
ENGLISH = [("Robert", "Allen"), ("Bob", "Allen"), ("R", "Allen"), ("Allen", "Robert"), ("Mary Ann", "Smith-Jones"), ("Márta", "Kovács"), ("Ann", "Smith")]  # fmt: skip


@pytest.fixture(scope="module")
def material():
    """A few thousand records, Chinese ones included, with the model learnt from them."""
    rng = np.random.default_rng(7)
    rows = []
    for person in range(900):
        pool = CHINESE if person % 2 else ENGLISH
        given, family = pool[rng.integers(len(pool))]
        born, email, code = (
            f"{1950 + person % 50}-{1 + person % 12:02d}-{1 + person % 28:02d}",
            f"p{person}x{person % 7}@mail.cn",
            f"NG{person % 30} {person % 9}AB",
        )
        for _ in range(int(rng.integers(1, 5))):
            rows.append({
                "first_name": given if rng.random() > 0.1 else given[:1], "surname": family, "dob": born if rng.random() > 0.3 else f"{born[:4]}-01-01",
                "email": email if rng.random() > 0.4 else email.replace("x", "z") if rng.random() > 0.7 else None,
                "postcode": code if rng.random() > 0.3 else None, "city": ["London", "北京", "Nottingham"][person % 3],
                "phone": f"+4479111{person:05d}" if rng.random() > 0.5 else None,
            })  # fmt: skip
    frame = pl.DataFrame(rows)
    read = people(frame, guess(frame.columns), ("GB", "CN"), shipped_rules())
    connection = duckdb.connect()
    connection.register("read", read.with_row_index("node").to_arrow())
    connection.execute(
        "create table nodes as select cast(node as bigint) as node, * exclude (node) from read order by node"
    )
    return connection, train.train(connection, "nodes"), read.rows(named=True)


def test_weights_equal_splinks_on_thousands_of_pairs_chinese_ones_included(material):
    connection, trained, rows = material
    connection.execute("create or replace table some_pairs as select a.node as l, b.node as r from nodes a join nodes b on a.node < b.node where hash(a.node, b.node) % 400 = 0 or abs(a.node - b.node) <= 2")  # fmt: skip
    by_splink = splink_weights.weights(connection, trained, "nodes", "some_pairs")
    scorer = Scorer(trained)
    assert len(by_splink) > 5_000
    compared = [complete(row, trained) for row in rows]
    worst = max(abs(scorer.weight(compared[a], compared[b]) - weight) for (a, b), weight in by_splink.items())
    assert worst < 1e-6
    assert all(
        scorer.matches(compared[a], compared[b]) == (w >= trained.threshold)
        for (a, b), w in by_splink.items()
        if abs(w - trained.threshold) > 1e-6
    )
    count = scoring.score(connection, trained, "nodes", "some_pairs", "by_select", -1000.0)
    by_select = {(a, b): w for a, b, w in connection.execute("select l, r, weight from by_select").fetchall()}
    assert (count, by_select.keys()) == (len(by_splink), by_splink.keys())
    assert max(abs(by_select[pair] - weight) for pair, weight in by_splink.items()) < 1e-9
    assert {test.term_frequency for c in trained.comparisons for test in c.tests} > {None}  # rarity was part of it
    assert scoring.score(connection, trained, "nodes", "some_pairs", "by_select", scoring.KEPT) == sum(
        w >= scoring.KEPT for w in by_splink.values()
    )


def test_the_parts_add_up_to_the_weight(material):
    _, trained, rows = material
    scorer = Scorer(trained)
    a, b = complete(rows[0], trained), complete(rows[1], trained)
    assert scorer.weight(a, b) == pytest.approx(trained.prior_weight + sum(part.weight for part in scorer.parts(a, b)))


SAID = {
    "given_name": "Robert",
    "family_name": "Allen",
    "birth_date": "1980-05-03",
    "email": "rob86x9@mail.cn",
    "postal_code": "NG1 2AB",
    "phone": "+447911100042",
    "city": "Nottingham",
}
WORDED = [
    ("first", {"given_name": "Bob"}, "a short form of it"),
    ("first", {"given_name": "R"}, "initial"),
    ("first", {"given_name": "Allen", "family_name": "Robert"}, "swapped"),
    ("family", {"given_name": "Allen", "family_name": "Robert"}, "swapped"),
    ("family", {"family_name": "Allen Jones"}, "among"),
    ("birth_date", {"birth_date": "1980-05-04"}, "slip"),
    ("birth_date", {"birth_date": "1980-01-01"}, "the same year, one on 1 January"),
    ("email", {"email": "rob86x9@other.cn"}, "the same before the @"),
    ("email", {"email": "rob86x8@mail.cn"}, "similar"),
    ("postal_code", {"postal_code": "NG1 9XY"}, "the same district"),
    ("postal_code", {"postal_code": "NG1 2AC"}, "slip"),
    ("phone", {"phone": "+447911100043"}, "slip"),
    ("city", {"city": "Notingham"}, "similar"),
    ("city", {"city": "Nottingham Beeston Rylands"}, "part of the other"),
]


@pytest.mark.parametrize(("comparison", "other", "label"), WORDED)
def test_each_way_in_which_people_are_written_down_is_a_level_of_its_own_and_worth_more_than_difference(material, comparison, other, label):  # fmt: skip
    scorer = Scorer(material[1])
    a, b = (complete(values(Described(**(SAID | more)), ("GB", "CN")), scorer.model) for more in ({}, other))
    far = complete(values(Described("Márta", "Kovács", birth_date="1951-11-27", email="zz@b.cn", postal_code="XX9 7QQ", phone="+447700900123", city="Leeds"), ("GB",)), scorer.model)  # fmt: skip
    (part,) = [part for part in scorer.parts(a, b) if part.comparison == comparison]
    (none,) = [part for part in scorer.parts(a, far) if part.comparison == comparison]
    assert label in part.label
    assert part.weight > none.weight


APART = {
    "first": [
        ("ann", "ann", "the same"), ("joanna", "johanna", "similar (Jaro–Winkler 0.9)"), ("ann", "marie", "among the other's names"), ("a", "ann", "initial"),
        ("michael", "michele", "similar (Jaro–Winkler 0.9)"), ("karen", "karina", "similar (Jaro–Winkler 0.78)"), ("ann", "bo", "different"),
    ],
    "family": [("li", "li", "the same"), ("petersen", "petersson", "similar (Jaro–Winkler 0.92)"), ("meyer", "meier", "similar (Jaro–Winkler 0.8)"), ("li", "wang", "different")],
    "rest": [("marie", "marie", "the same"), ("marie", "maria", "similar (Jaro–Winkler 0.88)"), ("r", "ruby", "initial"), ("marie zoe", "ann zoe", "a word in common"), ("marie", "zoe", "different")],
    "birth_date": [
        ("1980-05-03", "1980-05-03", "the same"), ("1980-01-01", "1980-01-01", "the same year, both on 1 January"), ("1980-05-03", "1980-05-04", "at most 1 slip"),
        ("1980-05-03", "1980-01-01", "the same year, one on 1 January"), ("1980-05-03", "1981-05-04", "at most 2 slips"), ("1980-05-03", "1980-11-27", "the same year"),
        ("1980-05-03", "1951-11-27", "different"),
    ],
    "email": [
        ("ann7x1@b.cn", "ann7x1@b.cn", "the same"), ("ann7x1@b.cn", "ann7x1@c.cn", "the same before the @"), ("joanna7x1@b.cn", "johanna7x1@c.cn", "similar"),
        ("an7@b.cn", "bn7@b.cn", "at most 1 slip"), ("ann7x1@b.cn", "bob@c.cn", "different"),
    ],
    "street": [("12 high street", "12 high street", "the same"), ("12 high street", "12 high streat", "similar (Jaro–Winkler 0.9)"), ("mill lane 3", "old mill", "a word in common"), ("mill", "high", "different")],
    "national_id": [("a1234", "a1234", "the same"), ("a1234", "a1235", "at most 1 slip"), ("a1234", "a1256", "at most 2 slips"), ("a1234", "b9876", "different")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "left", "right", "label"), [(name, *case) for name, cases in APART.items() for case in cases]
)
def test_a_pair_is_of_the_strongest_level_that_holds_and_no_level_stands_for_another(name, left, right, label):
    (comparison,) = [c for c in fields.comparisons(frozenset(fields.COLUMNS)) if c.name == name]

    def said(value):
        told = {
            "words": " ann marie " if value == "ann" else f" {value} ",
            "birth_year": value[:4],
            "email_user": value.split("@")[0],
        }
        full = None if value.endswith("-01-01") else value
        return (
            dict.fromkeys(fields.COLUMNS)
            | told
            | {name: value, "root": value, "birth_full": full, "email_local": told["email_user"]}
        )

    held = [test.label for test in comparison.tests if test.holds(said(left), said(right))]
    assert held[0].startswith(label), held


def test_what_a_rare_value_says_more_about():
    rare = {c.name: test.term_frequency for c in fields.comparisons(frozenset(fields.COLUMNS)) for test in c.tests if test.term_frequency}  # fmt: skip
    assert rare == {"birth_date": "birth_full"} | {c: c for c in ("first", "family", "rest", "email", "phone", "postal_code", "city", "region", "street", "occupation", "national_id")}  # fmt: skip


def test_addresses_of_one_name_and_another_number_say_no_more_than_the_name(material):
    """Namesakes have such addresses: that they look alike is the name's doing, which counts already."""
    scorer = Scorer(material[1])

    def said(email):
        return complete(values(Described("Robert", "Allen", email=email), ("GB",)), scorer.model)

    def label(one, other):
        return next(part.label for part in scorer.parts(said(one), said(other)) if part.comparison == "email")

    assert label("robert.allen56@mail.cn", "robertallen1917@other.cn") == "different"
    assert "similar" in label("robert.allen56@mail.cn", "robert.alen56@other.cn")
    assert "similar" in label("robert.allen56@mail.cn", "robert.allen57@other.cn")  # a slip of one digit may be one


@pytest.mark.parametrize("column", ["first", "family", "birth_full", "email", "phone", "postal_code", "city"])
def test_a_rare_value_weighs_more_than_a_common_one(material, column):
    connection, trained, _ = material
    counted = connection.execute(f"select {column}, count(*) from nodes where {column} is not null group by 1 order by 2, 1").fetchall()  # fmt: skip
    if column == "phone":  # counts people, and nobody here shares one
        often = {**trained.term_frequencies, "phone": {counted[-1][0]: 0.01}}
        trained = replace(trained, term_frequencies=often)
    scorer, weight = Scorer(trained), {}
    (comparison,) = [c.name for c in trained.comparisons for test in c.tests if test.term_frequency == column]
    for value in (counted[0][0], counted[-1][0]):
        own = complete({column: value, "words": value, comparison: value, "birth_year": value[:4]}, trained)
        (weight[value],) = [part.weight for part in scorer.parts(own, own) if part.comparison == comparison]
    assert counted[0][1] < counted[-1][1]
    assert weight[counted[0][0]] > weight[counted[-1][0]]


def test_keys_of_one_person_are_those_of_the_batch(material):
    connection, trained, rows = material
    made = {}
    for number, (rule, _) in enumerate(trained.plan.rules):
        for node, key in connection.execute(blocking.keys_sql(rule, number, "nodes")).fetchall():
            made.setdefault(node, set()).add(key)
    for node in range(0, len(rows), 7):
        assert set(blocking.keys(trained.plan, rows[node])) == made.get(node, set())


@pytest.mark.long
def test_training_is_repeatable(material):
    connection, trained, _ = material
    again = train.train(connection, "nodes")
    assert again.version == trained.version
    assert again.facts == trained.facts


def test_the_fingerprint_of_a_model_is_that_of_the_values_it_was_learnt_from(material):
    connection, trained, _ = material
    present = train.columns_present(connection, "nodes")
    assert trained.facts["data"] == train._fingerprint(connection, "nodes", present)
    connection.execute("create or replace temp table mixed as from nodes order by hash(node)")
    assert train._fingerprint(connection, "mixed", present) == trained.facts["data"], "in whatever order"
    connection.execute(
        "create or replace temp table other as select * replace (case when node = 7 then 'x' else first end as first) from nodes"
    )
    assert train._fingerprint(connection, "other", present) != trained.facts["data"]


@pytest.mark.long
@pytest.mark.parametrize("unlearnt", [{"phone"}, {"phone", "city"}])
def test_a_field_of_which_nothing_is_learnt_is_left_out_and_no_model_comes_of_nothing(material, monkeypatch, unlearnt):
    """A model with an untrained level is never made: the field is not compared, or there is no model."""
    connection, whole, _ = material
    connection.execute("create or replace table counted as select *, 1 as records from nodes where node < 700")
    assert unlearnt < set(whole.columns)
    real = train.unlearnt_comparisons
    monkeypatch.setattr(
        train, "unlearnt_comparisons", lambda found, names: sorted({*real(found, names), *(unlearnt & set(names))})
    )
    fewer = train.train(connection, "counted")
    assert fewer is not None
    assert not unlearnt & set(fewer.columns)
    assert not unlearnt & {comparison.name for comparison in fewer.comparisons}
    assert {c.name for c in fewer.comparisons} <= fewer.parameters.keys()
    monkeypatch.setattr(train, "unlearnt_comparisons", lambda found, names: names)
    assert train.train(connection, "counted") is None


def test_every_rule_of_blocking_and_every_comparison_has_its_reason(material):
    _, trained, _ = material
    shown = lifecycle.facts(trained)["blocking"]
    assert list(shown) == [rule.name for rule, _ in trained.plan.rules]
    assert all(len(reason) > 20 for reason in shown.values())
    assert all(rule.why and rule.columns <= set(fields.COLUMNS) for rule in blocking.CANDIDATES)
    assert all(comparison.why for comparison in fields.comparisons(frozenset(fields.COLUMNS)))


def test_the_prior_is_the_one_that_reproduces_itself(material):
    """The share of all pairs that the scores under it hold for one person; what training guessed first is far from it."""
    connection, trained, rows = material
    blocking.create_pairs(connection, trained.plan, "nodes")
    scoring.score(connection, trained, "nodes", "candidate_pairs", "every_score", -40.0)
    weights = np.array([w for (w,) in connection.execute("select weight from every_score").fetchall()])
    held = float((1 / (1 + 2.0**-weights)).sum())
    every = len(rows) * (len(rows) - 1) / 2
    assert trained.prior == pytest.approx(held / every, rel=2e-3)
    assert trained.facts["expected_matches"] == pytest.approx(held, rel=2e-3)


def test_a_value_that_too_many_share_makes_no_block():
    connection = duckdb.connect()
    connection.execute(
        "create table nodes as select i as node, 'shared@shop.cn' as email, 'f' || (i // 2) as first from range(3000) t(i)"
    )
    chosen = blocking.plan(connection, "nodes", frozenset({"email", "first"}))
    assert all(rule.name != "email" for rule, _ in chosen.rules)
    counted = {name: over for name, _, _, over in chosen.counted}
    assert counted["email"] == 3000


text = st.one_of(st.none(), st.text(alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=9), st.sampled_from(["ann", "anne", "li", "wei", "l", "ann marie", " ann clark ", "ann.clark86", "annclark1986", "ann.clark8"]))  # fmt: skip
TESTS = {
    "missing": levels.missing("a"), "missing_or_only": levels.missing_or_only("a", "b", "c"), "exact": levels.exact("a"),
    "similar": levels.similar("a", 0.88), "similar, with its number": levels.similar_not_in_digits("a", 0.88), "one slip": levels.slips("a", 1), "two slips": levels.slips("a", 2), "swapped": levels.swapped("a", "b"),
    "among": levels.among("a", "b", "c"), "among all": levels.among("a", "b"), "common word": levels.common_word("a"), "initial": levels.initial("a"), "part": levels.part("a"),
    "date slip": levels.date_slips("a", 1), "two date slips": levels.date_slips("a", 2), "coarse": levels.same_unless_full("a", "b", "x"),
}  # fmt: skip


@pytest.fixture(scope="module")
def engine():
    return duckdb.connect()


@settings(max_examples=150, deadline=None)
@given(left=st.fixed_dictionaries({"a": text, "b": text, "c": text}), right=st.fixed_dictionaries({"a": text, "b": text, "c": text}), near=st.booleans())  # fmt: skip
def test_every_test_means_the_same_in_sql_and_in_python(engine, left, right, near):
    if near and left["a"]:
        right = {**right, "a": left["a"][:-1] + "x"}
    values = {f"{name}_{side}": row[name] for side, row in (("l", left), ("r", right)) for name in "abc"}
    columns = ", ".join(f"cast(${name} as varchar) as {name}" for name in values)
    for name, test in TESTS.items():
        (by_sql,) = engine.execute(f"select coalesce({test.sql}, false) from (select {columns})", values).fetchall()[0]
        assert test.holds(left, right) == by_sql, (name, left, right)


@st.composite
def typed(draw, words, letters, most):
    """A text, and the same typed with slips."""
    meant = draw(words)
    said = list(meant)
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, max(len(said) - 1, 0)))
        what = draw(st.sampled_from(["other", "out", "in", "swap"]))
        if what == "in":
            said.insert(at, draw(letters))
        elif what == "other" and said:
            said[at] = draw(letters)
        elif what == "out" and said:
            del said[at]
        elif what == "swap" and at + 1 < len(said):
            said[at], said[at + 1] = said[at + 1], said[at]
    return meant, "".join(said)


def decided(engine, test, left, right):
    query = f"select coalesce(bool_or({test.sql}), false) from (select cast($l as varchar) as a_l, cast($r as varchar) as a_r)"
    return engine.execute(query, {"l": left, "r": right}).fetchall()[0][0]


LETTERS = st.sampled_from("ab1@.é明😀")


@settings(max_examples=400, deadline=None)
@given(typed(st.text(LETTERS, max_size=12), LETTERS, 3))
def test_where_a_distance_is_not_asked_for_it_would_have_been_too_large(engine, pair):
    left, right = pair
    for most in (1, 2):
        truth = DamerauLevenshtein.distance(left.encode(), right.encode()) <= most
        assert decided(engine, levels.slips("a", most), left, right) == truth
        assert levels.slips("a", most).holds({"a": left}, {"a": right}) == truth


@settings(max_examples=400, deadline=None)
@given(typed(st.dates().map(str), st.sampled_from("0123456789-"), 3), st.dates().map(str))
def test_slips_of_dates_are_those_within_a_year_a_month_or_a_day(engine, pair, other):
    meant, said = pair
    for left, right in ((meant, said), (meant, other)):
        for most in (1, 2):
            test = levels.date_slips("a", most)
            found = decided(engine, test, left, right)
            assert found == test.holds({"a": left}, {"a": right})
            if re.fullmatch(r"\d{4}-\d\d-\d\d", right):  # of what can be a date nothing is lost
                assert found == (DamerauLevenshtein.distance(left, right) <= most)


def test_a_file_without_phones_or_dates_still_gets_comparisons():
    assert [c.name for c in fields.comparisons(frozenset({"first", "family", "city"}))] == ["first", "family", "city"]
    assert all(c.why for c in fields.comparisons(frozenset(fields.COLUMNS)))
