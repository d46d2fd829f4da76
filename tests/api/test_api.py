"""The API over the reference case: who may ask, what they are told, what errors look like."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.keyring import SECONDS
from cdp.clock import parse_as_of, system_now
from cdp.store import keys
from cdp.store.connect import connect, owner_address
from tests.conftest import RETAIL_AS_OF, RetailCase, api_key

NOBODY = "0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77"
ENDPOINTS = [
    ("POST", "/v1/customers/lookup", "profiles:read"),
    ("GET", f"/v1/customers/{NOBODY}", "profiles:read"),
    ("GET", f"/v1/customers/{NOBODY}/timeline", "profiles:read"),
    ("GET", f"/v1/customers/{NOBODY}/consents", "consent:read"),
    ("GET", f"/v1/customers/{NOBODY}/loyalty", "loyalty:read"),
]


@dataclass
class Api:
    client: TestClient
    case: RetailCase

    def key(self, *scopes: str, purposes: tuple[str, ...] = ("service",)) -> dict[str, str]:
        return api_key(self.case.workspace, *scopes, purposes=purposes)


@pytest.fixture(scope="module")
def api(retail_case: RetailCase) -> Iterator[Api]:
    app = create_app(retail_case.workspace.settings, clock=lambda: parse_as_of(RETAIL_AS_OF))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Api(client, retail_case)


@pytest.fixture(scope="module")
def all_scopes(api: Api) -> dict[str, str]:
    return api.key("profiles:read", "consent:read", "loyalty:read")


@pytest.fixture(scope="module")
def customer(api: Api, all_scopes) -> str:
    found = api.client.post(
        "/v1/customers/lookup", json={"value": "SELINA_MARTIN2@yahoo.co.uk"}, headers=all_scopes
    ).json()
    return found["customers"][0]["customer_id"]


def problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    return body


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS)
def test_401_without_a_living_key(api, method, path, scope):
    for headers in (
        {},
        {"Authorization": "Bearer cdp_0_0"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer "},
    ):
        response = api.client.request(method, path, headers=headers, json={"value": "x"} if method == "POST" else None)
        problem(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS)
def test_403_without_the_scope(api, method, path, scope):
    others = [s for s in ("profiles:read", "consent:read", "loyalty:read", "events:write") if s != scope]
    response = api.client.request(
        method, path, headers=api.key(*others), json={"value": "x"} if method == "POST" else None
    )
    assert scope in problem(response, 403)["detail"]


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS[1:])
def test_404_for_nobody_and_422_for_nonsense(api, all_scopes, method, path, scope):
    problem(api.client.get(path, headers=all_scopes), 404)
    # beside `/customers/{id}` lie paths of other names: what is no id is no such path
    nonsense = 404 if path.endswith(NOBODY) else 422
    problem(api.client.get(path.replace(NOBODY, "not-a-uuid"), headers=all_scopes), nonsense)


def test_a_revoked_key_is_dead_within_a_second(api):
    headers = api.key("profiles:read")
    with connect(owner_address(api.case.workspace)) as store:
        name = keys.listed(store)[0].name
        assert api.client.get(f"/v1/customers/{NOBODY}", headers=headers).status_code == 404
        keys.revoke(store, name, system_now())
    time.sleep(SECONDS)
    problem(api.client.get(f"/v1/customers/{NOBODY}", headers=headers), 401)


def test_keys_are_stored_as_hashes(api):
    text = api.key("profiles:read")["Authorization"].removeprefix("Bearer ")
    with connect(owner_address(api.case.workspace)) as store:
        stored = repr(store.execute("select * from api_keys").fetchall())
    assert text.split("_", 2)[2] not in stored


@pytest.mark.parametrize(
    ("value", "kind"),
    [("selina_martin2@yahoo.co.uk", None), ("07827 145546", "phone"), ("0044 7827 145546", None), ("622617885359", "card"),
     ("W536372", "order"), ("web:W536372", None), ("100001", "ticket"), ("w-39601947", "account"), ("d4884b84127f1046", "browser"),
     ("web:user:w-39601947", "record")],
)  # fmt: skip
def test_a_customer_is_found_by_any_identifier_in_any_writing(api, all_scopes, customer, value, kind):
    body = {"value": value} | ({"type": kind} if kind else {})
    found = api.client.post("/v1/customers/lookup", json=body, headers=all_scopes)
    assert found.status_code == 200
    people = [match["customer_id"] for match in found.json()["customers"]]
    assert people, value
    if value != "622617885359":
        assert customer in people


def test_dummies_find_nobody(api, all_scopes):
    for value in ("00000000000", "noemail@shop.example", "nobody at all", "!"):
        assert api.client.post("/v1/customers/lookup", json={"value": value}, headers=all_scopes).json() == {
            "customers": [],
            "more": False,
        }


def test_the_profile_is_masked_and_every_value_cites_its_record(api, all_scopes, customer):
    body = api.client.get(f"/v1/customers/{customer}", headers=all_scopes).json()
    assert body["email"]["value"] == "s•••@yahoo.co.uk"
    assert body["phone"]["value"].endswith("•••5546")
    text = api.client.get(f"/v1/customers/{customer}", headers=all_scopes).text
    assert "selina_martin2" not in text.lower()
    assert "+447827145546" not in text
    records = {record["record_id"] for record in body["records"]}
    assert {body[field]["record_id"] for field in ("email", "phone", "postal_code")} | {
        body["name"]["record_id"]
    } <= records
    assert set(body["channels"]) == {"app", "pos", "service", "web"}
    assert body["data_as_of"].startswith(RETAIL_AS_OF)


def test_revealing_needs_its_scope_and_is_audited_before_the_answer(api, all_scopes, customer):
    problem(api.client.get(f"/v1/customers/{customer}?reveal=true", headers=all_scopes), 403)
    headers = api.key("profiles:read", "profiles:reveal")
    body = api.client.get(f"/v1/customers/{customer}?reveal=true", headers=headers).json()
    assert body["email"]["value"] == "selina_martin2@yahoo.co.uk"
    with connect(owner_address(api.case.workspace)) as store:
        rows = store.execute("select action, customer_id::text from audit_log").fetchall()
    assert ("profile.reveal", customer) in rows


def test_the_timeline_pages_through_everything_newest_first(api, all_scopes, customer):
    seen, cursor = [], None
    while True:
        query = f"?limit=7&cursor={cursor}" if cursor else "?limit=7"
        page = api.client.get(f"/v1/customers/{customer}/timeline{query}", headers=all_scopes).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    whole = api.client.get(f"/v1/customers/{customer}/timeline?limit=200", headers=all_scopes).json()
    assert [item["id"] for item in seen[:200]] == [item["id"] for item in whole["items"]]
    assert len({item["id"] for item in seen}) == len(seen)
    assert [item["occurred_at"] for item in seen] == sorted((item["occurred_at"] for item in seen), reverse=True)
    assert {"order", "points", "consent", "ticket"} <= {item["type"] for item in seen}
    problem(api.client.get(f"/v1/customers/{customer}/timeline?cursor=nonsense", headers=all_scopes), 422)


def test_free_text_of_tickets_is_withheld_and_said_to_be(api, all_scopes, customer):
    items = api.client.get(f"/v1/customers/{customer}/timeline?limit=200", headers=all_scopes).json()["items"]
    tickets = [item["details"] for item in items if item["type"] == "ticket"]
    assert tickets
    assert all(t["details"]["description"] is None and t["withheld"] == ["description", "subject"] for t in tickets)
    headers = api.key("profiles:read", "profiles:reveal")
    shown = api.client.get(f"/v1/customers/{customer}/timeline?limit=200&reveal=true", headers=headers).json()["items"]
    assert all(item["details"]["details"]["description"] for item in shown if item["type"] == "ticket")


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ("news:customer:jane@x.com", "news:customer:j•••@x.com"),
        ("a:customer:+447729902080", "a:customer:+44•••2080"),
        ("pos:card:623141588974", "pos:card:•••8974"),
        ("web:user:w-1", "web:user:w-1"),
    ],
)
def test_a_personal_key_is_masked_inside_a_record_id(record, shown):
    from api.present import record as present_record

    assert present_record(record, revealed=False) == shown


def test_consents_name_the_deciding_decision(api, all_scopes, customer):
    body = api.client.get(f"/v1/customers/{customer}/consents", headers=all_scopes).json()
    flags = {(flag["purpose"], flag["contact_point"]): flag for flag in body["consents"]}
    assert ("email_marketing", "s•••@yahoo.co.uk") in flags
    assert all(flag["decided_by"] for flag in body["consents"] if flag["status"] != "unknown")
    assert all(not f["allowed"] for f in body["consents"] if f["status"] != "granted" and f["basis"] != "contract")


def test_the_balance_is_the_sum_over_the_accounts(api, all_scopes, customer):
    body = api.client.get(f"/v1/customers/{customer}/loyalty", headers=all_scopes).json()
    assert body["balance"] == sum(account["balance"] for account in body["accounts"]) > 0
    assert body["tier"]["tier"] in ("bronze", "silver", "gold")
    assert body["movements"]


def test_a_body_of_nonsense_is_a_problem_that_does_not_repeat_it(api, all_scopes):
    body = problem(api.client.post("/v1/customers/lookup", json={"value": "x" * 500}, headers=all_scopes), 422)
    assert "xxx" not in str(body)
    problem(api.client.post("/v1/customers/lookup", content=b"{", headers=all_scopes), 422)
    problem(api.client.post("/v1/customers/lookup", json={"value": "a\x00b"}, headers=all_scopes), 422)


def test_health_and_readiness(api):
    assert api.client.get("/healthz").json() == {"status": "ok"}
    ready = api.client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["release"] >= 1


def test_unknown_paths_and_methods_are_problems_too(api):
    problem(api.client.get("/v1/nothing"), 404)
    problem(api.client.delete("/healthz"), 405)


def test_the_openapi_document_declares_errors_and_examples(api):
    document = api.client.get("/openapi.json").json()
    for method, path, _ in ENDPOINTS:
        operation = document["paths"][path.replace(NOBODY, "{customer_id}")][method.lower()]
        assert {"401", "403", "422", "503"} <= operation["responses"].keys()
        assert all("application/problem+json" in operation["responses"][s]["content"] for s in ("401", "403", "503"))
    assert document["components"]["schemas"]["Customer"]["properties"]["customer_id"]["examples"]


def test_the_api_process_never_loads_the_linking_stack():
    import subprocess
    import sys

    code = "import sys, api.app; print([m for m in ('splink', 'dagster', 'polars', 'pandera') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
