"""One customer's evidence, judged as the batch judges it: rules that keep apart, and what would be without a value."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from cdp.store.evidence import KEPT, Material
from identity import blocking, explain
from identity.assembly import partition, scored_pairs, without_value
from identity.blocking import Plan, Rule
from identity.scorer import Part

PLAN = Plan(((Rule(("email",)), 10), (Rule(("phone",)), 10)))
SCORER = SimpleNamespace(model=SimpleNamespace(plan=PLAN, threshold=5.0, prior_weight=-5.0, comparisons=(), columns=()))


def values(given, born=None, **more):
    return {"given_key": given, "first": given, "root": given, "family": "twin", "birth_full": born, **more}


def material(*payloads, edges=(), decisions=()):
    """Records a, b, c … of these payloads, with exact edges between the pairs named."""
    records = [chr(ord("a") + at) for at in range(len(payloads))]
    return Material(
        records,
        [(pair[0], pair[1], "phone", "exact", 20.0, {"identifier": "phone", "values": "1"}) for pair in edges],
        {record: (payload, blocking.keys(PLAN, payload)) for record, payload in zip(records, payloads, strict=True)},
        [(pair[0], pair[1], verdict) for pair, verdict in decisions],
    )


TWINS = (values("oscar", "2001-05-06"), values("freya", "1998-11-23"))


def test_different_birth_dates_and_given_names_keep_apart_what_a_phone_joins():
    assert partition(material(*TWINS, edges=["ab"]), None) == [["a"], ["b"]]
    said = explain.pair(material(*TWINS, edges=["ab"]), None, "a", "b", together=False)
    assert explain.BIRTHS in said.reasons
    assert explain.RULED_APART not in said.reasons
    one = (values("oscar", "2001-05-06"), values("oscar", "2001-06-05"))
    assert partition(material(*one, edges=["ab"]), None) == [["a", "b"]]


def test_two_who_share_one_value_each_with_a_third_share_nothing_once_it_is_kept_apart():
    """a holds the phone of b and that of c: where a is neither of them, b and c are nothing to one another."""
    found = material(
        {},
        {},
        {},
        {},
        edges=["ab", "ac", "ad"],
        decisions=[("ab", "different"), ("ac", "different"), ("ad", "different")],
    )
    said = ["1", "2", "2"]
    edges = [(*edge[:5], {**edge[5], "values": value}) for edge, value in zip(found.edges, said, strict=True)]
    assert partition(replace(found, edges=edges), None) == [["c", "d"], ["a"], ["b"]]


def test_without_one_of_several_values_an_edge_says_the_others():
    """a and b share two phones, a and c one of them and a third: kept apart from a, b and c have the first in common, no more."""
    found = material({}, {}, {}, edges=["ab", "ac"], decisions=[("ab", "different"), ("ac", "different")])
    edges = [(*edge[:5], {**edge[5], "values": said}) for edge, said in zip(found.edges, ("1|2", "1|3"), strict=True)]
    found = replace(found, edges=edges)
    assert partition(found, None) == [["b", "c"], ["a"]]
    assert partition(without_value(found, None, "phone", "1"), None) == [["a"], ["b"], ["c"]]
    assert partition(without_value(found, None, "phone", "2"), None) == [["b", "c"], ["a"]]


def test_what_a_split_left_is_told_after_all_else_and_leads_nowhere_that_something_else_leads(monkeypatch):
    monkeypatch.setattr("identity.assembly.complete", lambda payload, model: payload)
    monkeypatch.setattr("identity.explain.complete", lambda payload, model: payload)
    scorer = SimpleNamespace(**vars(SCORER), weight=lambda a, b: 30.0, parts=lambda a, b: [])
    found = material(*(values("ann", email="a@b.cn", phone=None),) * 2, decisions=[("ab", "same")])
    found.edges.append(("a", "b", "decision", "steward", KEPT, {}))
    assert [(step.type, step.weight) for step in explain.assembled(found, scorer)] == [("similar", 30.0)]
    assert [kind for _, _, kind, _ in explain.pair(found, scorer, "a", "b", together=True).path] == ["similar"]
    nothing = replace(found, payloads={})
    assert [step.type for step in explain.assembled(nothing, scorer)] == ["decision"]
    assert [kind for _, _, kind, _ in explain.pair(nothing, None, "a", "b", together=True).path] == ["decision"]


def test_a_stewards_word_beats_the_rule():
    assert partition(material(*TWINS, edges=["ab"], decisions=[("ab", "same")]), None) == [["a", "b"]]


def test_records_with_the_same_payload_as_one_of_them_stay_apart_too():
    found = material(*TWINS, {}, edges=["ab", "bc"])
    found.payloads.pop("c")
    found.edges.append(("a", "c", "identical", "probabilistic", 20.0, {}))
    assert partition(found, None) == [["a", "c"], ["b"]]


@pytest.mark.parametrize(("together", "says"), [(False, explain.RULED_APART), (True, None)])
def test_what_only_a_limit_keeps_apart_is_said_to_be_apart_and_why(together, says):
    said = explain.pair(material(values("ann"), values("ann"), edges=["ab"]), None, "a", "b", together=together)
    assert said.together is together
    assert (explain.RULED_APART in said.reasons) is (says is not None)
    assert explain.NOTHING not in said.reasons


ANN, BEA = values("ann"), values("bea")
WHY_NOT = {
    "a steward's word": (material(ANN, ANN, edges=["ab"], decisions=[("ab", "different")]), [explain.DECIDED]),
    "two births and names": (material(*TWINS, edges=["ab"]), [explain.BIRTHS, explain.NAMES]),
    "two names": (material(ANN, BEA), [explain.NAMES]),
    "too little across": (material(ANN, ANN, edges=["ab"]), [explain.RULED_APART]),
    "no full name": (material(ANN), [explain.NAMELESS]),
    "nothing": (material(ANN, ANN), [explain.NOTHING]),
}


@pytest.mark.parametrize("case", WHY_NOT)
def test_each_reason_that_keeps_two_records_apart_is_told_alone(case):
    found, reasons = WHY_NOT[case]
    if case == "no full name":
        found = replace(found, records=["a", "b"])
    assert explain.pair(found, None, "a", "b", together=False).reasons == reasons


@pytest.mark.parametrize(("across", "reasons"), [("nobody", ["below"]), ("c", [explain.SPLIT, "below"])])
def test_values_that_weigh_too_little_are_told_with_their_weight_and_with_the_way_that_leads_around(
    monkeypatch, across, reasons
):
    """b is like c alone, to whom all others are alike: evidence leads from a to b, and average linkage parts them."""
    monkeypatch.setattr("identity.assembly.complete", lambda payload, model: payload)
    monkeypatch.setattr("identity.explain.complete", lambda payload, model: payload)

    def weight(one, other):
        two = {one["rest"], other["rest"]}
        return 6.0 if across == "c" and ("b" not in two or "c" in two) else -20.0

    scorer = SimpleNamespace(
        **vars(SCORER), weight=weight, parts=lambda a, b: [Part("first", "far", weight(a, b) + 5.0)]
    )
    found = material(*(values("ann", email="a@b.cn", rest=name) for name in "abcde"))
    said = explain.pair(found, scorer, "a", "b", together=False)
    assert [("below" if "below the threshold of 5.0" in reason else reason) for reason in said.reasons] == reasons
    assert said.weight == -20.0


def test_what_the_last_run_joined_and_nothing_holds_any_more_is_named():
    said = explain.pair(material(values("ann"), values("ann")), None, "a", "b", together=True)
    assert said.together
    assert said.reasons == [explain.JOINED_BEFORE]


def test_records_of_one_payload_fall_apart_without_the_value_that_made_it_say_enough(monkeypatch):
    """Two John Smiths of one phone are one person; without it their name alone is anybody's."""
    monkeypatch.setattr("identity.assembly.complete", lambda payload, model: payload)
    scorer = SimpleNamespace(**vars(SCORER), weight=lambda a, b: 12.0 if a["phone"] else 3.0)
    found = material(values("john", phone="1"))
    found = replace(found, records=["a", "b"], edges=[("a", "b", "identical", "probabilistic", 12.0, {})])
    assert partition(found, scorer) == [["a", "b"]]
    assert partition(without_value(found, scorer, "phone", "2"), scorer) == [["a", "b"]]
    assert partition(without_value(found, scorer, "phone", "1"), scorer) == [["a"], ["b"]]


def test_records_that_fell_apart_keep_their_birth_dates(monkeypatch):
    """Of three, two are one payload: without the phone none of them is another's, whatever card the second shares with the third."""
    monkeypatch.setattr("identity.assembly.complete", lambda payload, model: payload)
    scorer = SimpleNamespace(**vars(SCORER), weight=lambda a, b: 12.0 if a["phone"] else 3.0)
    found = material(values("john", "1980-05-05", phone="1"), {}, values("mary", "1991-02-03", phone=None))
    found.payloads.pop("b")
    card = ("b", "c", "card", "exact", 20.0, {"identifier": "card", "values": "7"})
    found.edges.extend([("a", "b", "identical", "probabilistic", 12.0, {}), card])
    assert partition(found, scorer) == [["a", "b"], ["c"]]
    assert partition(without_value(found, scorer, "phone", "1"), scorer) == [["a"], ["b"], ["c"]]


def test_without_a_card_those_who_hang_by_its_record_fall_apart():
    found = material(values("john"), values("john"))
    found.edges.append(("a", "b", "card", "exact", 20.0, {"identifier": "card", "values": "pos:card:6200123"}))
    assert partition(found, None) == [["a", "b"]]
    assert partition(without_value(found, None, "card", "6200123"), None) == [["a"], ["b"]]
    assert partition(without_value(found, None, "card", "123"), None) == [["a", "b"]]


def test_without_a_value_records_that_only_it_made_candidates_are_never_compared(monkeypatch):
    monkeypatch.setattr("identity.assembly.complete", lambda payload, model: payload)
    scorer = SimpleNamespace(**vars(SCORER), weight=lambda a, b: 30.0, parts=lambda a, b: [])
    alike = values("ann", email="a@b.cn", phone=None), values("ann", email="a@b.cn", phone=None)
    both = material(*alike)
    assert partition(both, scorer) == [["a", "b"]]
    assert scored_pairs(without_value(both, scorer, "email", "a@b.cn"), scorer) == []
    assert partition(without_value(both, scorer, "email", "a@b.cn"), scorer) == [["a"], ["b"]]
    assert partition(without_value(both, scorer, "email", "other@b.cn"), scorer) == [["a", "b"]]
    phones = material(*(payload | {"phone": "1"} for payload in alike))
    assert partition(without_value(phones, scorer, "email", "a@b.cn"), scorer) == [["a", "b"]], (
        "the phone compares them still"
    )
