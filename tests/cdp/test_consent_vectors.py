"""The published vectors, by the function and by its SQL twin. What they mean: `tests/vectors/consent/README.md`."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from cdp.consent.policy import Policy
from cdp.consent.resolve import Decision, Link, effective
from tests.cdp import histories

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "consent"
TIMES = ("captured_at", "received_at", "expires_at", "confirmed_at")


def cases():
    for file in sorted(FOLDER.glob("*.json")):
        read = json.loads(file.read_text(encoding="utf-8"))
        for case in read["cases"]:
            yield pytest.param(Policy.model_validate(read["policy"]), case, id=f"{file.stem}: {case['name']}")


def decision(said):
    times = {name: datetime.fromisoformat(said[name]) for name in TIMES if said.get(name)}
    plain = {name: value for name, value in said.items() if name not in (*TIMES, "id")}
    return Decision(decision_id=said["id"], **{"captured_at": None, **plain, **times})


def material(case):
    links = [Link(li["record_id"], li["weight"], frozenset(li["points"]), li.get("country")) for li in case["links"]]
    return [decision(said) for said in case["decisions"]], links


def test_there_are_enough_of_them():
    assert len(list(cases())) >= 150


@pytest.mark.parametrize(("policy", "case"), list(cases()))
def test_the_function_answers_as_published(policy, case):
    decisions, links = material(case)
    now, asked = datetime.fromisoformat(case["now"]), case["ask"]
    answer = effective(decisions, links, policy, now, asked["purpose"], asked["contact_point"])
    expected = {"conflict": bool(case["expect"]["conflicting"]), **case["expect"]}
    found = {**vars(answer), "conflicting": list(answer.conflicting)}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_the_sql_twin_answers_as_published(file):
    """All cases of a file that ask at one moment in one query, each with customers, points and ids of its own."""
    read = json.loads(file.read_text(encoding="utf-8"))
    policy, asked = (
        Policy.model_validate(read["policy"]),
        [apart(case, f"#{n}") for n, case in enumerate(read["cases"])],
    )
    for now in sorted({case["now"] for case in asked}):
        cases_now = [case for case in asked if case["now"] == now]
        answers = histories.by_sql([world(case) for case in cases_now], policy, datetime.fromisoformat(now))
        for case in cases_now:
            ask, expect = case["ask"], case["expect"]
            found = answers.get((case["name"], ask["purpose"], ask["contact_point"]))
            if found is None:  # silence that allows nothing, and what needs no asking, has no row
                assert expect["reason"] == "contract" or (expect["status"], expect["allowed"]) == ("unknown", False), (
                    case
                )
            else:
                shown = dict(
                    zip(
                        (
                            "allowed",
                            "status",
                            "basis",
                            "reason",
                            "decided_by",
                            "conflict",
                            "conflicting",
                            "jurisdiction",
                        ),
                        found,
                        strict=True,
                    )
                )
                shown["conflicting"] = [name for name in shown["conflicting"].split(",") if name]
                assert {name: shown[name] for name in expect} == expect, case


def world(case):
    """The case's customer, and somebody else for the records that are not his."""
    decisions, links = material(case)
    mine = {link.record_id for link in links}
    others = {d.record_id: Link(d.record_id, 99) for d in decisions if d.record_id not in mine}
    return histories.World(
        {case["name"]: links, f"{case['name']} other": [*others.values()]}, [*dict.fromkeys(decisions)]
    )


def apart(case, mark):
    """The case with every record, point and decision marked, so that cases do not hear one another."""
    marked = json.loads(json.dumps(case))
    for link in marked["links"]:
        link["record_id"] += mark
        link["points"] = [point + mark for point in link["points"]]
    for said in marked["decisions"]:
        for name in ("id", "record_id", "subject"):
            said[name] += mark
    if marked["ask"]["contact_point"]:
        marked["ask"]["contact_point"] += mark
    expect = marked["expect"]
    expect["decided_by"] = expect["decided_by"] and expect["decided_by"] + mark
    expect["conflicting"] = [name + mark for name in expect["conflicting"]]
    marked["name"] += mark
    return marked
