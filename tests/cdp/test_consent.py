"""Effective consent: the pure function, its rules one by one and its laws on generated histories."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cdp.consent.policy import Policy, load_policy
from cdp.consent.resolve import DENIALS, Decision, Link, effective
from cdp.errors import ConfigError
from cdp.settings import Settings
from cdp.workspace import Workspace
from tests.cdp import histories

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOW = T0 + timedelta(days=100)
POLICY = Policy(version="1", purposes={"email_marketing": {"point": "email"}, "analytics": {}})
A, B = "a@x.org", "b@x.org"
LINKS = [Link("r1", 99, frozenset({A})), Link("r2", 99, frozenset({B})), Link("weak", 7, frozenset({A}))]


def said(status, day, *, record="r1", subject=A, purpose="email_marketing", undated=False, name=None):
    kind = "record" if subject == record else "email"
    at = T0 + timedelta(days=day)
    return Decision(
        name or f"{record}-{status}-{day}", record, kind, subject, purpose, status, None if undated else at, at
    )


def ask(decisions, point=A, purpose="email_marketing", now=NOW, links=LINKS):
    return effective(decisions, links, POLICY, now, purpose, point)


def test_silence_is_never_a_grant():
    answer = ask([])
    assert not answer.allowed
    assert (answer.status, answer.reason) == ("unknown", "never_asked")


def test_an_unknown_purpose_is_refused():
    assert effective([said("granted", 1)], LINKS, POLICY, NOW, "world_domination", A).reason == "unknown_purpose"


def test_within_a_contact_point_the_latest_captured_wins_even_if_it_arrives_first():
    assert ask([said("withdrawn", 5), said("granted", 3)]).status == "withdrawn"
    assert ask([said("granted", 7), said("withdrawn", 5)]).allowed


def test_a_tie_goes_to_the_restrictive_one():
    assert not ask([said("granted", 5), said("denied", 5, record="r2")]).allowed


def test_a_withdrawal_for_one_address_leaves_the_other_alone():
    history = [said("granted", 1), said("granted", 1, record="r2", subject=B), said("withdrawn", 2)]
    assert not ask(history).allowed
    assert ask(history, point=B).allowed


def test_a_denial_on_a_record_reaches_every_point_a_grant_only_its_own():
    assert not ask(
        [said("granted", 1, record="r2", subject=B), said("denied", 2, record="r1", subject="r1")], point=B
    ).allowed
    assert ask([said("granted", 2, record="r1", subject="r1")], point=A).allowed
    assert not ask([said("granted", 2, record="r1", subject="r1")], point=B).allowed


def test_an_undated_grant_ranks_below_any_denial():
    assert not ask([said("denied", 1), said("granted", 50, undated=True)]).allowed


def test_a_weak_link_carries_denials_never_grants():
    assert not ask([said("granted", 1, record="weak", subject="weak")]).allowed
    assert not ask([said("granted", 1), said("denied", 2, record="weak", subject="weak")]).allowed


def test_person_level_purposes_take_the_most_restrictive_record():
    history = [
        said("granted", 9, subject="r1", purpose="analytics"),
        said("denied", 1, record="r2", subject="r2", purpose="analytics"),
    ]
    answer = ask(history, point=None, purpose="analytics")
    assert not answer.allowed
    assert answer.conflict
    assert answer.decided_by == "r2-denied-1"


def test_decisions_of_the_future_are_not_in_force():
    assert not ask([said("granted", 101)]).allowed
    assert ask([said("granted", 101)], now=NOW + timedelta(days=5)).allowed


def test_a_conflict_names_the_other_side():
    answer = ask([said("granted", 9), said("denied", 3, record="r2")])
    assert answer.allowed
    assert answer.conflicting == ("r2-denied-3",)


statuses = st.sampled_from(["granted", "denied", "withdrawn", "expired", "pending", "unknown"])
decisions = st.lists(
    st.builds(
        lambda status, day, record, on_record, point, undated, number: said(
            status, day, record=record, subject=record if on_record else point, undated=undated, name=f"d{number}"
        ),
        statuses,
        st.integers(0, 120),
        st.sampled_from(["r1", "r2", "weak", "stranger"]),
        st.booleans(),
        st.sampled_from([A, B]),
        st.booleans(),
        st.integers(0, 10_000),
    ),
    max_size=8,
    unique_by=lambda d: d.decision_id,
)


@settings(max_examples=400)
@given(decisions, st.randoms())
def test_order_and_repetition_do_not_matter(history, random):
    shuffled = history * 2
    random.shuffle(shuffled)
    for point in (A, B):
        assert ask(shuffled, point) == ask(history, point)


@settings(max_examples=400)
@given(decisions, st.sampled_from(DENIALS), st.integers(0, 120), st.sampled_from([A, B, "r1", "r2"]))
def test_one_more_denial_never_allows_more(history, status, day, subject):
    record = subject if subject in ("r1", "r2") else "r1"
    more = [*history, said(status, day, record=record, subject=subject, name="extra")]
    for point in (A, B):
        assert ask(history, point).allowed or not ask(more, point).allowed


def same_but_pending(answer, before):
    """A pending answer shows where nothing else was said; it decides nothing."""
    return answer == before or (
        not before.allowed and before.status in ("unknown", "pending") and answer.status == "pending"
    )


@settings(max_examples=300)
@given(decisions, st.sampled_from(["r1", "r2"]), st.integers(0, 120), st.sampled_from(["unknown", "pending"]))
def test_a_missing_or_pending_answer_changes_nothing_at_either_level(history, record, day, status):
    more = [*history, said(status, day, record=record, subject=record, name="extra")]
    for point in (A, B):
        assert same_but_pending(ask(more, point), ask(history, point))
    person = [replace(d, purpose="analytics", subject_type="record", subject=d.record_id) for d in history]
    extra = replace(more[-1], purpose="analytics")
    assert same_but_pending(ask([*person, extra], None, "analytics"), ask(person, None, "analytics"))


@settings(max_examples=300)
@given(decisions, st.sampled_from(DENIALS), st.integers(0, 100))
def test_one_more_denial_never_allows_more_for_the_person_as_a_whole(history, status, day):
    person = [replace(d, purpose="analytics", subject_type="record", subject=d.record_id) for d in history]
    extra = said(status, day, subject="r1", purpose="analytics", name="extra")
    assert ask(person, None, "analytics").allowed or not ask([*person, extra], None, "analytics").allowed


# The laws on generated worlds, and the SQL twin on the same ones: 20 batches of 1,000 histories are 20,000.
BATCHES, WORLDS = 20, 1_000


def worlds_of(seed):
    random = Random(seed)
    return [histories.world(random, f"w{number}") for number in range(WORLDS)], random


@settings(max_examples=BATCHES, deadline=None, phases=[Phase.generate])
@given(st.integers(0, 2**32))
def test_the_laws_hold_and_the_sql_twin_agrees_on_generated_histories(seed):
    worlds, random = worlds_of(seed)
    answers = [histories.by_function(world) for world in worlds]
    assert histories.by_sql(worlds) == {key: answer for found in answers for key, answer in found.items()}
    for world, answer in zip(worlds, answers, strict=True):
        shuffled = world.decisions * 2
        random.shuffle(shuffled)
        assert histories.by_function(replace(world, decisions=shuffled)) == answer, "order-free and idempotent"
        allowed = {
            key for key, found in histories.by_function(histories.with_denial(world, random)).items() if found[0]
        }
        assert allowed <= {key for key, found in answer.items() if found[0]}, "one more denial never allows more"


@pytest.mark.long
@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(st.integers(0, 2**32))
def test_merge_then_split_restores_by_function_and_by_sql(seed):
    worlds, _ = worlds_of(seed)
    whole = [
        histories.World({f"m{n}": histories.merged(w).customers["merged"]}, w.decisions) for n, w in enumerate(worlds)
    ]
    before, together = histories.by_sql(worlds), histories.by_sql(whole)
    assert together == {key: answer for world in whole for key, answer in histories.by_function(world).items()}
    apart = [histories.World(w.customers, m.decisions) for w, m in zip(worlds, whole, strict=True)]
    assert histories.by_sql(apart) == before


def test_the_policy_that_ships_is_sound_and_an_older_file_gets_what_it_lacks(tmp_path):
    shipped = load_policy(
        Workspace(Settings(home=create(tmp_path, "version: '1'\npurposes: {email_marketing: {point: email}}")))
    )
    assert {"service", "targeted_advertising", "processing"} < set(shipped.purposes)
    assert shipped.signalled("gpc") == ("sale_or_sharing", "targeted_advertising")
    assert "legitimate_interest" not in shipped.rules("pipl").bases
    assert shipped.law(["GB", "CN"]) == "pipl"
    assert shipped.law([None, "BR"]) == "gdpr"
    assert all(purpose.concept.startswith("dpv:") for purpose in shipped.purposes.values())


def test_a_policy_that_names_an_unknown_purpose_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown purpose world_domination"):
        load_policy(Workspace(Settings(home=create(tmp_path, "restriction: world_domination"))))


def create(folder, text):
    (folder / "consent.yaml").write_text(text, encoding="utf-8")
    return folder
