"""Scores of a customer: only for a purpose that may use them, only of who allows it; segments narrow audiences down; managers see figures."""

import json

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from cdp.derived.follower import Follower
from cdp.store.connect import connect, owner_address
from tests.conftest import NOW, api_key, cdp

PATH = "/v1/customers/{}?include=scores&fields=scores"


@pytest.fixture(scope="module")
def client(town):
    audiences = town.path("audiences.yaml")
    text = audiences.read_text(encoding="utf-8")
    audiences.write_text(text + "  lately: {purpose: email_marketing, segments: [new, active, occasional, reactivated]}\n", encoding="utf-8")
    with TestClient(create_app(town.settings, clock=lambda: NOW), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def scored(town):
    """A known customer with an e-mail, who has scores and said nothing of analytics."""
    with connect(owner_address(town)) as store:
        return store.execute(
            "select s.customer_id::text from customer_scores s join profiles p using (customer_id) where p.profile -> 'email' ->> 'value' is not null "
            "and s.scores ->> 'state' <> 'prospect' and not exists (select 1 from consent_decisions d join assignment a using (record_id) "
            "where a.customer_id = s.customer_id and d.purpose in ('analytics', 'processing', 'email_marketing')) order by 1 limit 1"
        ).fetchall()[0][0]


@pytest.fixture(scope="module")
def analyst(town):
    return api_key(town, "profiles:read", "consent:write", "audiences:read", purposes=("analytics", "service", "email_marketing"))


def say(client, headers, customer, status, purpose="analytics", point=None):
    asked = {"purpose": purpose, "status": status, "contact_point": point}
    assert client.post(f"/v1/customers/{customer}/consents", json=asked, headers=headers).status_code == 201


def test_401_and_403_first(client, town, scored):
    assert client.get(PATH.format(scored)).status_code == 401
    assert client.get(PATH.format(scored), headers=api_key(town, "changes:read")).status_code == 403


def test_scores_are_withheld_from_other_purposes_and_from_analytics_until_it_is_allowed(client, analyst, scored):
    assert client.get(PATH.format(scored), headers=analyst | {"Purpose": "service"}).json()["scores"]["withheld"] == "not_for_this_purpose"
    before = client.get(PATH.format(scored), headers=analyst).json()["scores"]
    assert before["withheld"] == "never_asked"
    assert before["state"] is None
    say(client, analyst, scored, "granted")
    after = client.get(PATH.format(scored), headers=analyst).json()["scores"]
    assert after["withheld"] is None
    assert after["state"] in ("new", "active", "occasional", "at_risk", "dormant", "churned", "reactivated")
    assert after["segments"]
    assert after["scored_at"]
    assert "scores" not in client.get(f"/v1/customers/{scored}", headers=analyst).json()


def test_another_purpose_that_may_read_scores_needs_the_consent_to_scores_too(client, town, analyst, scored):
    personal = api_key(town, "profiles:read", "consent:write", purposes=("personalisation",))
    with connect(owner_address(town)) as store:
        other = store.execute(
            "select customer_id::text from customer_scores where customer_id <> %s and not exists (select 1 from consent_decisions d join assignment a using (record_id) "
            "where a.customer_id = customer_scores.customer_id) order by 1 desc limit 1", [scored]
        ).fetchall()[0][0]
    say(client, analyst, other, "granted", "personalisation")
    assert client.get(PATH.format(other), headers=personal).json()["scores"]["withheld"] == "never_asked"
    say(client, analyst, other, "granted")
    assert client.get(PATH.format(other), headers=personal).json()["scores"]["state"]
    say(client, analyst, other, "withdrawn")
    assert client.get(PATH.format(other), headers=personal).json()["scores"]["withheld"].startswith("withdrawn")


def told(town, client, analyst):
    """Customers of the audience: by an export, and as the follower tells them."""
    export = client.get("/v1/audiences/lately/export", headers=analyst | {"Purpose": "email_marketing"})
    assert export.status_code == 200
    follower = Follower(town, clock=lambda: NOW)
    with connect(owner_address(town)) as store:
        while follower.look(store):
            pass
        members = {row[0] for row in store.execute("select customer_id::text from audience_members where audience = 'lately'").fetchall()}
    exported = {json.loads(line)["customer_id"] for line in export.text.splitlines()}
    assert exported == members
    return members


def test_a_segment_in_an_audience_holds_nobody_whose_scores_may_not_be_used(client, town, analyst, scored):
    with connect(owner_address(town)) as store:
        lately = {row[0] for row in store.execute("select customer_id::text from customer_scores where scores -> 'segments' ?| array['new', 'active', 'occasional', 'reactivated']").fetchall()}
        people = store.execute(
            "select customer_id::text, profile -> 'email' ->> 'value' from profiles where customer_id = any(%s::uuid[]) and profile -> 'email' ->> 'value' is not null "
            "and profile -> 'country' ->> 'value' is distinct from 'CN' and customer_id <> %s and not exists (select 1 from consent_decisions d "
            "join assignment a using (record_id) where a.customer_id = profiles.customer_id) order by 1 limit 8", [sorted(lately), scored]
        ).fetchall()
    for customer, email in people:
        say(client, analyst, customer, "granted", "email_marketing", email)
    assert told(town, client, analyst) == set(), "none of them allowed analytics"
    for customer, _ in people:
        say(client, analyst, customer, "granted")
    members = told(town, client, analyst)  # without those whose e-mail somebody else's refusal is about
    assert len(members) > 2
    assert members <= lately
    denies, withdraws, *_ = sorted(members)
    say(client, analyst, denies, "denied")
    say(client, analyst, withdraws, "withdrawn")
    assert told(town, client, analyst) == members - {denies, withdraws}


@pytest.mark.long
def test_who_denies_analytics_has_no_scores_after_the_next_run_and_an_export_says_what_there_is(client, town, analyst, scored):
    with connect(owner_address(town)) as store:
        from cdp.consent.policy import load_policy
        from cdp.privacy.export import export

        assert export(store, load_policy(town), scored, NOW)["scores"]["state"]
        say(client, analyst, scored, "denied")
        cdp(town, "run", "--as-of", f"{NOW:%Y-%m-%d}")
        assert store.execute("select count(*) from customer_scores where customer_id = %s", [scored]).fetchall() == [(0,)]
        assert export(store, load_policy(town), scored, NOW)["scores"] is None
        held = store.execute("select count(*) from customer_scores").fetchall()[0][0]
    assert held > 50


def test_publishing_scores_again_writes_nothing(town):
    from cdp.publish.scores import publish_scores
    from tests.conftest import opened

    with opened(town) as found:
        assert publish_scores(found.lake, found.store, NOW) == 0


def test_an_unknown_segment_in_an_audience_is_named(town):
    from cdp.consent.policy import load_policy
    from cdp.derived.audiences import load_audiences
    from cdp.errors import ConfigError
    from cdp.loyalty.programme import load_programme

    path = town.path("audiences.yaml")
    before = path.read_text(encoding="utf-8")
    path.write_text(before + "  odd: {purpose: email_marketing, segments: [martians]}\n", encoding="utf-8")
    try:
        with pytest.raises(ConfigError, match="no segment martians") as raised:
            load_audiences(town, load_policy(town), load_programme(town))
        assert "insight.yaml" in raised.value.hint
    finally:
        path.write_text(before, encoding="utf-8")


def test_figures_of_the_managers_page_name_nobody(town):
    with connect(owner_address(town)) as store:
        text = json.dumps(store.execute("select name, figures from insight").fetchall(), default=str)
        people = [row[0] for row in store.execute("select customer_id::text from customers").fetchall()]
    assert "retention_rate" in text
    assert not [customer for customer in people if customer in text]


def test_a_score_is_only_kept_of_a_model_that_holds(town):
    """A few hundred people teach little: what is not trusted is not served as a number."""
    with connect(owner_address(town)) as store:
        cards = {card["model"]: card for card in store.execute("select figures from insight where name = 'cards'").fetchall()[0][0]}
        served = store.execute("select count(*) filter (where scores ->> 'churn' is not null), count(*) filter (where scores ->> 'value' is not null) from customer_scores").fetchall()[0]
    for model, number in (("churn", served[0]), ("customer_value", served[1])):
        assert (number > 0) == (not cards[model]["doubts"]), model


def test_figures_that_are_no_numbers_are_nothing(town):
    from cdp.store import scores

    with connect(owner_address(town)) as store:
        before = scores.figures(store)
        scores.put_figures(store, before | {"odd": [{"x": float("nan"), "y": float("inf"), "z": 1}]}, NOW)
        assert scores.figures(store)["odd"] == [{"x": None, "y": None, "z": 1}]
        scores.put_figures(store, before, NOW)
        assert "odd" not in scores.figures(store)
