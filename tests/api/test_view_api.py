"""The single customer view: what it includes, sparse fields, versions, many lookups at once, special care."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.schemas import Matches
from cdp.service import Service
from cdp.store.connect import connect, owner_address
from tests.conftest import NOW, api_key


@pytest.fixture(scope="module")
def client(town):
    with TestClient(create_app(town.settings, clock=lambda: NOW), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def headers(town):
    return api_key(town, "profiles:read", "loyalty:read")


def one(town, query, *values):
    with connect(owner_address(town)) as store:
        return store.execute(query, values).fetchall()[0]


@pytest.fixture(scope="module")
def caller_with_ticket(town):
    return one(
        town,
        "select a.customer_id::text from interactions i join assignment a using (record_id) join orders o on o.record_id in "
        "(select record_id from assignment b where b.customer_id = a.customer_id) where i.kind = 'ticket' "
        "group by 1 order by count(distinct i.interaction_id) desc, 1 limit 1",
    )[0]


def test_401_and_403_first(client, town):
    asked = {"lookups": [{"value": "x"}]}
    assert client.post("/v1/customers/lookup/batch", json=asked).status_code == 401
    assert (
        client.post("/v1/customers/lookup/batch", json=asked, headers=api_key(town, "changes:read")).status_code == 403
    )


def test_loyalty_in_the_view_needs_its_own_scope(client, town, caller_with_ticket):
    narrow = api_key(town, "profiles:read")
    assert client.get(f"/v1/customers/{caller_with_ticket}", headers=narrow).status_code == 200
    assert client.get(f"/v1/customers/{caller_with_ticket}?include=loyalty", headers=narrow).status_code == 403


def test_a_key_without_the_scope_learns_no_tier_by_a_side_way(client, town, headers, caller_with_ticket, monkeypatch):
    """Neither by special care nor by a deadline."""
    monkeypatch.setattr(Service, "flags", lambda self, tier, *_: ["high_value"] if tier is not None else [])
    path = f"/v1/customers/{caller_with_ticket}?include=care&fields=care"
    assert client.get(path, headers=headers).json()["care"]["reasons"] == ["high_value"]
    assert client.get(path, headers=api_key(town, "profiles:read")).json()["care"]["reasons"] == []


def test_what_is_included_is_what_the_endpoints_of_its_own_say(client, headers, caller_with_ticket):
    path = f"/v1/customers/{caller_with_ticket}"
    seen = client.get(
        f"{path}?include=loyalty&include=tickets&include=interactions&include=care", headers=headers
    ).json()
    balance = client.get(f"{path}/loyalty/balance", headers=headers).json()
    assert (seen["loyalty"]["balance"], seen["loyalty"]["balance_version"]) == (
        balance["balance"],
        balance["balance_version"],
    )
    assert seen["loyalty"]["tier"] == client.get(f"{path}/loyalty", headers=headers).json()["tier"]["tier"]
    story = client.get(f"{path}/timeline?limit=20", headers=headers).json()["items"]
    assert seen["interactions"]["items"] == story
    assert seen["data_as_of"]
    plain = client.get(path, headers=headers).json()
    assert not {"loyalty", "tickets", "interactions", "care"} & set(plain)


def test_an_open_ticket_has_a_deadline_by_tier_and_a_closed_one_none(client, headers, town, caller_with_ticket):
    with connect(owner_address(town)) as store:
        store.execute(
            "update interactions set details = jsonb_set(details, '{details,status}', '\"open\"') where kind = 'ticket' and record_id in "
            "(select record_id from assignment where customer_id = %s)", [caller_with_ticket],
        )  # fmt: skip
    seen = client.get(f"/v1/customers/{caller_with_ticket}?include=tickets&include=loyalty", headers=headers).json()
    hours = client.app.state.context.service.deadline_hours
    promised = timedelta(hours=hours.get(seen["loyalty"]["tier"], hours["default"]))
    assert seen["tickets"]["items"]
    for ticket in seen["tickets"]["items"]:
        assert ticket["is_open"]
        assert datetime.fromisoformat(ticket["due_at"]) == datetime.fromisoformat(ticket["opened_at"]) + promised
    with connect(owner_address(town)) as store:
        store.execute(
            "update interactions set details = jsonb_set(details, '{details,status}', '\"closed\"') where kind = 'ticket'"
        )
    seen = client.get(f"/v1/customers/{caller_with_ticket}?include=tickets", headers=headers).json()
    assert {(t["is_open"], t["due_at"]) for t in seen["tickets"]["items"]} == {(False, None)}


def test_fields_name_what_is_answered(client, headers, caller_with_ticket):
    path = f"/v1/customers/{caller_with_ticket}"
    seen = client.get(f"{path}?fields=name,consents", headers=headers).json()
    assert {"name", "consents", "customer_id"} <= set(seen)
    assert not {"email", "records", "orders"} & set(seen)
    assert client.get(f"{path}?fields=name,shoe_size", headers=headers).status_code == 422


def test_an_unchanged_answer_is_not_sent_again(client, headers, town, caller_with_ticket):
    path = f"/v1/customers/{caller_with_ticket}"
    first = client.get(path, headers=headers)
    again = client.get(path, headers=headers | {"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path + "?fields=name", headers=headers).headers["etag"] != first.headers["etag"]
    with connect(owner_address(town)) as store:
        store.execute(
            "update profiles set profile = jsonb_set(profile, '{city,value}', '\"atlantis\"') where customer_id = %s",
            [caller_with_ticket],
        )
    changed = client.get(path, headers=headers | {"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


def test_a_thousand_identifiers_at_once_answer_as_one_by_one(client, headers, town):
    with connect(owner_address(town)) as store:
        known = store.execute(
            "select type, value from identifiers where type in ('email', 'phone', 'card') order by md5(value) limit 40"
        ).fetchall()
    asked = [{"value": value, "type": kind} for kind, value in known] + [{"value": "nobody@example.org"}]
    answers = client.post("/v1/customers/lookup/batch", json={"lookups": asked}, headers=headers).json()["answers"]
    for one_asked, found in zip(asked, answers, strict=True):
        alone = client.post("/v1/customers/lookup", json=one_asked, headers=headers).json()["customers"]
        assert [(f["customer_id"], f["matched"]) for f in found] == [(f["customer_id"], f["matched"]) for f in alone]
    assert answers[-1] == []
    many = {"lookups": asked[:1] * 1000}
    assert len(client.post("/v1/customers/lookup/batch", json=many, headers=headers).json()["answers"]) == 1000
    assert (
        client.post("/v1/customers/lookup/batch", json={"lookups": asked[:1] * 1001}, headers=headers).status_code
        == 422
    )


def day(number):
    return datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=number)


@pytest.mark.parametrize(
    ("tier", "ordered", "nps", "rating", "at", "wanted"),
    [
        ("gold", [], None, None, 0, ["high_value"]), ("bronze", [], None, None, 0, []),
        (None, [0, 10, 20], None, None, 50, []), (None, [0, 10, 20], None, None, 51, ["quiet"]),
        (None, [0, 0, 0], None, None, 300, []), (None, [0, 10], None, None, 300, []),
        (None, [], 6, None, 0, ["unhappy"]), (None, [], 7, None, 0, []), (None, [], 9, "bad", 0, ["unhappy"]),
        ("gold", [20, 0, 10], 2, None, 90, ["high_value", "quiet", "unhappy"]),
    ],
)  # fmt: skip
def test_special_care(tier, ordered, nps, rating, at, wanted):
    rules = Service(version="1", high_value_tiers=("gold",))
    assert rules.flags(tier, [day(n) for n in ordered], nps, rating, day(at)) == wanted


def test_a_deadline_is_by_tier_the_default_or_none():
    rules = Service(version="1", deadline_hours={"gold": 8})
    assert rules.deadline(day(0), "gold") == day(0) + timedelta(hours=8)
    assert rules.deadline(day(0), None) is None
    assert Service(version="1").deadline(day(0), "gold") == day(2)


def test_a_lookup_says_of_points_and_consents_what_the_single_view_says(client, town, headers):
    """In one round trip, by snapshots: also where lots have ended, points are set aside, and somebody holds several accounts."""
    with connect(owner_address(town)) as store:
        people = store.execute(
            "select a.customer_id::text, min(i.value), array_agg(distinct l.account_id) from ledger_accounts l join assignment a using (record_id) "
            "join assignment b using (customer_id) join identifiers i on i.record_id = b.record_id and i.type = 'email' group by 1 order by count(distinct l.account_id) desc, 1 limit 60"
        ).fetchall()
        assert len(people[0][2]) > 1
        for number, (_, _, accounts) in enumerate(people):
            if number % 3 == 0:
                store.execute(
                    "update ledger_lots set expires_at = %s where account_id = any(%s) and remaining > 0",
                    [NOW - timedelta(days=1), accounts],
                )
            if number % 3 == 1:
                store.execute(
                    "insert into ledger_holds (hold_id, record_id, programme, unit, amount, created_at, expires_at, reason, actor) "
                    "select gen_random_uuid(), record_id, programme, unit, 1, now(), %s, 'test', 'test' from ledger_accounts where account_id = any(%s)",
                    [NOW + timedelta(days=1), accounts],
                )
    for customer, email, _ in people:
        asked = {"type": "email", "value": email, "include": ["loyalty"]}
        found = Matches.model_validate(client.post("/v1/customers/lookup", json=asked, headers=headers).json())
        [mine] = [one for one in found.customers if one.customer_id == customer]
        whole = client.get(f"/v1/customers/{customer}?include=loyalty", headers=headers).json()
        assert mine.loyalty is not None
        told = mine.loyalty.model_dump(exclude={"withheld"})
        assert told == {name: whole["loyalty"][name] for name in told}
        assert [flag.model_dump(mode="json") for flag in mine.consents] == whole["consents"]
    assert client.post("/v1/customers/lookup", json=asked, headers=api_key(town, "profiles:read")).status_code == 403
    del asked["include"]
    assert (
        client.post("/v1/customers/lookup", json=asked, headers=headers).json()["customers"][0].get("loyalty") is None
    )
