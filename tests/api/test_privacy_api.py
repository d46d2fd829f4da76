"""Consent, purposes, unsubscribe links, audiences, privacy requests and the audit trail, over HTTP."""

from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from cdp.privacy import trail
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace
from tests.conftest import NOW, api_key, cdp

NOBODY = "0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77"
ENDPOINTS = [
    ("POST", f"/v1/customers/{NOBODY}/consents", "consent:write", {"purpose": "analytics", "status": "granted"}),
    ("POST", f"/v1/customers/{NOBODY}/consents/withdraw", "consent:write", {"purpose": "analytics"}),
    ("POST", f"/v1/customers/{NOBODY}/signals", "consent:write", None),
    ("POST", f"/v1/customers/{NOBODY}/unsubscribe-links", "consent:write", {"purpose": "email_marketing", "contact_point": "a@b.cn"}),
    ("GET", "/v1/audiences/members", "audiences:read", None),
    ("POST", "/v1/privacy/requests", "privacy:write", {"kind": "access", "customer_id": NOBODY}),
    ("GET", "/v1/privacy/requests", "privacy:write", None),
    ("GET", f"/v1/privacy/requests/{NOBODY}", "privacy:write", None),
    ("POST", f"/v1/privacy/requests/{NOBODY}/verify", "privacy:write", {"method": "in_person"}),
    ("POST", f"/v1/privacy/requests/{NOBODY}/extend", "privacy:write", {"reason": "a test"}),
    ("POST", f"/v1/privacy/requests/{NOBODY}/refuse", "privacy:write", {"reason": "a test"}),
    ("POST", f"/v1/privacy/requests/{NOBODY}/carry-out", "privacy:write", None),
    ("PUT", f"/v1/privacy/requests/{NOBODY}/steps/web", "privacy:write", {"status": "done"}),
    ("GET", f"/v1/privacy/requests/{NOBODY}/export", "privacy:write", None),
]  # fmt: skip
ALL = (
    "profiles:read",
    "profiles:reveal",
    "consent:read",
    "consent:write",
    "loyalty:read",
    "audiences:read",
    "privacy:write",
    "review:write",
)
PURPOSES = ("service", "email_marketing", "analytics", "sale_or_sharing", "personalisation")


@dataclass
class Api:
    client: TestClient
    store: psycopg.Connection
    workspace: Workspace
    headers: dict[str, str]

    def call(self, method, path, body=None, status=200, **more):
        headers = {**self.headers, **more.pop("headers", {})}
        response = self.client.request(method, path, json=body, headers=headers, **more)
        assert response.status_code == status, response.text
        return response.json()

    def flags(self, customer, query=""):
        found = self.call("GET", f"/v1/customers/{customer}/consents?reveal=true{query}")["consents"]
        return {(flag["purpose"], flag["contact_point"]): flag for flag in found}

    def audited(self):
        """Actions in the log, everything that waits written first."""
        self.client.app.state.context.trail.flush()
        return self.store.execute(
            "select action, customer_id::text, purpose, actor, reason, details from audit_log order by audit_id"
        ).fetchall()


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def api(town, clock):
    with (
        TestClient(create_app(town.settings, clock=clock), raise_server_exceptions=False) as client,
        connect(owner_address(town)) as store,
    ):
        yield Api(client, store, town, api_key(town, *ALL, purposes=PURPOSES))


@pytest.fixture(scope="module")
def people(api):
    """Customers with an e-mail and several records, each for one test."""
    rows = api.store.execute(
        "select a.customer_id::text, min(i.value) from assignment a join identifiers i using (record_id) join profiles p using (customer_id) "
        "where i.type = 'email' and p.profile -> 'country' ->> 'value' = 'GB' group by 1 having count(distinct a.record_id) between 2 and 20 "
        "and count(distinct i.value) = 1 order by 1"
    ).fetchall()
    assert len(rows) > 30
    return iter(rows)


@pytest.mark.parametrize(("method", "path", "scope", "body"), ENDPOINTS)
def test_401_and_403_first(api, method, path, scope, body):
    assert api.client.request(method, path, json=body).status_code == 401
    others = api_key(api.workspace, *(name for name in ALL if name != scope))
    refused = api.client.request(method, path, json=body, headers=others)
    assert refused.status_code == 403
    assert scope in refused.json()["detail"]


def test_a_decision_is_recorded_holds_at_once_and_once(api, people):
    customer, email = next(people)
    asked = {"purpose": "email_marketing", "status": "granted", "contact_point": email.upper(), "method": "preference_centre",
             "notice_version": "2026-02", "evidence": {"form": "7"}, "captured_at": f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}  # fmt: skip
    done = api.call("POST", f"/v1/customers/{customer}/consents", asked, 201)
    assert len(done["decisions"]) == 1
    flag = api.flags(customer)["email_marketing", email]
    assert (flag["allowed"], flag["decided_by"], flag["decided"]["method"]) == (
        True,
        done["decisions"][0],
        "preference_centre",
    )
    assert api.call("POST", f"/v1/customers/{customer}/consents", asked)["decisions"] == []
    stored = api.store.execute(
        "select notice_version, evidence, actor from consent_decisions where decision_id = %s", done["decisions"]
    ).fetchall()
    assert stored[0][0] == "2026-02"
    assert stored[0][1] == {"form": "7"}
    assert stored[0][2].startswith("key:")
    kinds = api.store.execute(
        "select type from changes where customer_id = %s order by change_id desc limit 1", [customer]
    ).fetchall()
    assert kinds == [("consent.changed",)]


def test_withdrawing_takes_a_purpose_and_reaches_every_point(api, people, clock):
    customer, email = next(people)
    api.call(
        "POST",
        f"/v1/customers/{customer}/consents",
        {"purpose": "email_marketing", "status": "granted", "contact_point": email},
        201,
    )
    clock.now += timedelta(seconds=1)
    api.call("POST", f"/v1/customers/{customer}/consents/withdraw", {"purpose": "email_marketing"}, 201)
    assert all(
        not f["allowed"] and f["status"] == "withdrawn"
        for (p, _), f in api.flags(customer).items()
        if p == "email_marketing"
    )
    assert api.flags(customer)["email_marketing", email]["decided"]["method"] == "api"


def test_an_answer_about_the_person_is_written_on_every_record(api, people):
    customer, _ = next(people)
    done = api.call("POST", f"/v1/customers/{customer}/consents", {"purpose": "analytics", "status": "granted"}, 201)
    records = api.store.execute("select count(*) from assignment where customer_id = %s", [customer]).fetchall()[0][0]
    assert len(done["decisions"]) == records
    assert api.flags(customer)["analytics", None]["allowed"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"purpose": "world_domination", "status": "granted"}, "unknown purpose"),
        ({"purpose": "email_marketing", "status": "granted"}, "needs a contact point"),
        ({"purpose": "email_marketing", "status": "granted", "contact_point": "not an address"}, "no email"),
        ({"purpose": "email_marketing", "status": "granted", "contact_point": "stranger@example.org"}, "holds no such"),
        ({"purpose": "analytics", "status": "granted", "contact_point": "stranger@example.org"}, "as a whole"),
        ({"purpose": "analytics", "status": "granted", "captured_at": "2099-01-01T00:00:00Z"}, "future"),
        ({"purpose": "analytics", "status": "maybe"}, "schema"),
        ({"purpose": "analytics", "status": "granted", "basis": "because"}, "schema"),
    ],
)
def test_what_cannot_be_recorded_gets_a_clear_answer_and_changes_nothing(api, people, body, says):
    customer, _ = next(people)
    before = api.store.execute("select count(*) from consent_decisions").fetchall()
    answer = api.call("POST", f"/v1/customers/{customer}/consents", body, 422)
    assert says in answer["detail"]
    assert api.store.execute("select count(*) from consent_decisions").fetchall() == before
    if says != "schema":
        assert any(
            action.startswith("refused POST") and says in (reason or "") for action, _, _, _, reason, _ in api.audited()
        )


def test_consent_reads_as_of_any_time_and_as_known_then(api, people, clock):
    customer, email = next(people)
    api.call(
        "POST",
        f"/v1/customers/{customer}/consents",
        {"purpose": "email_marketing", "status": "granted", "contact_point": email},
        201,
    )
    granted, key = clock.now, ("email_marketing", email)
    clock.now += timedelta(days=2)
    late = {
        "purpose": "email_marketing",
        "status": "withdrawn",
        "contact_point": email,
        "captured_at": f"{granted + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
    }
    api.call("POST", f"/v1/customers/{customer}/consents", late, 201)

    def asked(**moments):
        return api.flags(customer, "".join(f"&{name}={moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in moments.items()))[
            key
        ]["allowed"]

    day = timedelta(days=1)
    assert not asked()
    assert asked(as_of=granted + day / 2), "before the person withdrew it was allowed"
    assert not asked(as_of=granted + day * 1.5), "when she had withdrawn it was not, as we know today"
    assert asked(as_of=granted + day * 1.5, known_at=granted + day * 1.5), "but then we did not know"
    assert (
        "future"
        in api.call("GET", f"/v1/customers/{customer}/consents?as_of=2099-01-01T00:00:00Z", status=422)["detail"]
    )


def test_global_privacy_control_denies_sale_sharing_and_targeted_advertising_only(api, people):
    customer, _ = next(people)
    path = f"/v1/customers/{customer}/signals"
    before = api.flags(customer)
    for value in ("0", "true", "1 ", "2"):
        if value.strip() != "1":
            assert "Sec-GPC" in api.call("POST", path, status=422, headers={"Sec-GPC": value})["detail"]
    api.call("POST", path, status=422)
    assert api.flags(customer) == before
    api.call("POST", path, status=201, headers={"Sec-GPC": "1"})
    changed = {purpose for (purpose, point), flag in api.flags(customer).items() if flag != before[purpose, point]}
    assert changed == {"sale_or_sharing", "targeted_advertising"}
    assert api.flags(customer)["sale_or_sharing", None]["decided"]["method"] == "global_privacy_control"
    assert api.client.get("/.well-known/gpc.json").json()["gpc"] is True


def test_one_click_unsubscribe(api, people, clock):
    customer, email = next(people)
    api.call(
        "POST",
        f"/v1/customers/{customer}/consents",
        {"purpose": "email_marketing", "status": "granted", "contact_point": email},
        201,
    )
    clock.now += timedelta(seconds=1)
    link = api.call(
        "POST",
        f"/v1/customers/{customer}/unsubscribe-links",
        {"purpose": "email_marketing", "contact_point": email},
        201,
    )
    assert email.split("@")[0] not in str(link)
    assert link["list_unsubscribe"].startswith("<http")
    page = api.client.get(link["path"])
    assert page.status_code == 200
    assert "退订" in page.text
    assert api.flags(customer)["email_marketing", email]["allowed"], "opening the link changes nothing"
    assert api.client.post(link["path"], content=b"hello").status_code == 422
    for _ in range(2):
        assert api.client.post(link["path"], content=b"List-Unsubscribe=One-Click").status_code == 200
    flag = api.flags(customer)["email_marketing", email]
    assert (flag["status"], flag["decided"]["method"]) == ("withdrawn", "one_click")
    assert api.client.post(f"/v1/unsubscribe/{'0' * 64}", content=b"List-Unsubscribe=One-Click").status_code == 404
    assert ("consent.one_click", customer) in {row[:2] for row in api.audited()}


def test_a_purpose_that_is_not_the_keys_or_not_known_is_refused(api, people):
    customer, _ = next(people)
    assert (
        "may not ask" in api.call("GET", f"/v1/customers/{customer}?purpose=targeted_advertising", status=403)["detail"]
    )
    assert "unknown purpose" in api.call("GET", f"/v1/customers/{customer}?purpose=nonsense", status=403)["detail"]


def test_fields_are_withheld_with_the_reason_and_never_silently(api, people, clock):
    customer, email = next(people)
    api.call("POST", f"/v1/customers/{customer}/consents/withdraw", {"purpose": "email_marketing"}, 201)
    read = api.call("GET", f"/v1/customers/{customer}?reveal=true", headers={"Purpose": "email_marketing"})
    assert read["email"] == {"value": None, "record_id": None, "withheld": read["name"]["withheld"]}
    assert read["email"]["withheld"].startswith("withdrawn_by_")
    assert read["phone"]["withheld"] == "not_for_this_purpose"
    assert read["orders_withheld"] == "not_for_this_purpose"
    clock.now += timedelta(seconds=1)
    api.call(
        "POST",
        f"/v1/customers/{customer}/consents",
        {"purpose": "email_marketing", "status": "granted", "contact_point": email},
        201,
    )
    read = api.call("GET", f"/v1/customers/{customer}?reveal=true", headers={"Purpose": "email_marketing"})
    assert read["email"]["value"] == email
    assert read["email"]["withheld"] is None
    assert read["phone"]["withheld"] == "not_for_this_purpose"
    service = api.call("GET", f"/v1/customers/{customer}")
    assert all(service[name]["withheld"] is None for name in ("name", "email", "phone", "birth_date", "city"))
    assert service["consents"]
    shown = api.call("GET", f"/v1/customers/{customer}/timeline?purpose=sale_or_sharing")
    assert (shown["items"], shown["withheld"]) == ([], "not_for_this_purpose")
    assert (
        api.call("GET", f"/v1/customers/{customer}/loyalty?purpose=sale_or_sharing")["withheld"]
        == "not_for_this_purpose"
    )


def test_a_lookup_says_whether_the_person_may_be_contacted_and_by_which_decision(api, people):
    customer, email = next(people)
    done = api.call(
        "POST",
        f"/v1/customers/{customer}/consents/withdraw",
        {"purpose": "email_marketing", "contact_point": email},
        201,
    )
    match = next(
        m
        for m in api.call("POST", "/v1/customers/lookup", {"value": email})["customers"]
        if m["customer_id"] == customer
    )
    flag = next(f for f in match["consents"] if f["purpose"] == "email_marketing")
    assert (flag["allowed"], flag["decided_by"]) == (False, done["decisions"][0])
    assert flag["decided"]["record_id"]


def test_an_audience_holds_only_whom_the_purpose_may_reach_now(api, people, clock):
    customer, email = next(people)

    def reached():
        found, cursor, left_out = {}, "", {}
        while cursor is not None:
            page = api.call("GET", f"/v1/audiences/members?purpose=email_marketing&reveal=true&limit=40{cursor}")
            found |= {m["customer_id"]: m for m in page["members"]}
            left_out = {r: left_out.get(r, 0) + n for r, n in page["withheld"].items()} | {
                r: n for r, n in left_out.items() if r not in page["withheld"]
            }
            cursor = page["next"] and f"&cursor={page['next']}"
        return found, left_out

    clock.now += timedelta(seconds=1)
    api.call(
        "POST",
        f"/v1/customers/{customer}/consents",
        {"purpose": "email_marketing", "status": "granted", "contact_point": email},
        201,
    )
    members, left_out = reached()
    assert members[customer]["contact_points"] == [email]
    assert sum(left_out.values()) > 0
    assert all(reason for reason in left_out)
    for other, member in list(members.items())[:30]:
        flags = api.flags(other)
        assert all(flags["email_marketing", point]["allowed"] for point in member["contact_points"])
    clock.now += timedelta(seconds=1)
    api.call("POST", f"/v1/customers/{customer}/consents/withdraw", {"purpose": "email_marketing"}, 201)
    assert customer not in reached()[0]
    assert any(row[0] == "audience.export" for row in api.audited())


def ask(api, kind, customer, **more):
    return api.call("POST", "/v1/privacy/requests", {"kind": kind, "customer_id": customer, **more}, 201)


def test_nothing_is_released_before_identity_is_proven(api, people, clock):
    customer, email = next(people)
    request = ask(api, "access", customer)
    assert (request["status"], request["jurisdiction"], request["overdue"]) == ("received", "gdpr", False)
    path = f"/v1/privacy/requests/{request['request_id']}"
    assert "not proven" in api.call("GET", f"{path}/export", status=409)["detail"]
    assert api.call("POST", f"{path}/verify", {"method": "in_person"})["status"] == "verified"
    export = api.call("GET", f"{path}/export")
    assert export["format"] == "cdp-export-1"
    assert email in {row["value"] for row in export["identifiers"]}
    held = api.store.execute("select record_id from assignment where customer_id = %s", [customer]).fetchall()
    assert {row["record_id"] for row in export["records"]} == {record for (record,) in held}
    for name in (
        "orders",
        "interactions",
        "consent_decisions",
        "loyalty",
        "sources",
        "recipients",
        "purposes",
        "privacy_requests",
    ):
        assert name in export
    assert any(row["action"] == "privacy.export" for row in export["recipients"])
    done = api.call("GET", path)
    assert (done["status"], done["outcome"]) == ("done", "exported")
    row = next(row for row in api.audited() if row[0] == "privacy.export" and row[1] == customer)
    assert email not in str(row)


def test_an_export_of_a_merged_id_is_of_the_customer_it_became(api, people):
    (one, _), (other, _) = next(people), next(people)
    request = ask(api, "portability", one)
    path = f"/v1/privacy/requests/{request['request_id']}"
    api.call("POST", f"{path}/verify", {"method": "signed_in"})
    merged = api.call("POST", "/v1/customers/merge", {"customer_ids": [other, one], "reason": "a test"})
    export = api.call("GET", f"{path}/export")
    assert (export["customer_id"], export["requested_id"]) == (merged["customers"][0], one)
    api.call("POST", f"/v1/changesets/{merged['changeset_id']}/undo", {"reason": "a test"})
    assert {"customer.merge", "customer.undo"} <= {row[0] for row in api.audited()}


def test_restriction_closes_all_that_rests_on_consent_and_objection_stops_marketing(api, people, clock):
    customer, email = next(people)
    api.call(
        "POST",
        f"/v1/customers/{customer}/consents",
        {"purpose": "email_marketing", "status": "granted", "contact_point": email},
        201,
    )
    clock.now += timedelta(seconds=1)
    request = ask(api, "restriction", customer)
    path = f"/v1/privacy/requests/{request['request_id']}"
    api.call("POST", f"{path}/carry-out", status=409)
    api.call("POST", f"{path}/verify", {"method": "called_back"})
    assert api.call("POST", f"{path}/carry-out")["status"] == "done"
    flags = api.flags(customer)
    assert flags["email_marketing", email]["reason"] == "restricted"
    assert flags["service", None]["allowed"]
    clock.now += timedelta(seconds=1)
    api.call("POST", f"/v1/customers/{customer}/consents", {"purpose": "processing", "status": "granted"}, 201)
    assert api.flags(customer)["email_marketing", email]["allowed"], "lifted, what was said before holds again"
    clock.now += timedelta(seconds=1)
    request = ask(api, "objection", customer)
    path = f"/v1/privacy/requests/{request['request_id']}"
    api.call("POST", f"{path}/verify", {"method": "called_back"})
    api.call("POST", f"{path}/carry-out")
    assert not any(f["allowed"] for (purpose, _), f in api.flags(customer).items() if purpose.endswith("_marketing"))


def test_a_rectification_is_done_when_every_source_reported(api, people):
    customer, _ = next(people)
    request = ask(api, "rectification", customer)
    path = f"/v1/privacy/requests/{request['request_id']}"
    api.call("PUT", f"{path}/steps/{request['steps'][0]['system']}", {"status": "done"}, 409)
    api.call("POST", f"{path}/verify", {"method": "document_seen"})
    api.call("PUT", f"{path}/steps/nowhere", {"status": "done"}, 404)
    for step in request["steps"]:
        assert step["status"] == "pending"
        request = api.call("PUT", f"{path}/steps/{step['system']}", {"status": "done"})
    assert request["status"] == "done"


def test_deadlines_follow_the_law_are_prolonged_once_and_overdue_is_told(api, people, clock):
    customer, _ = next(people)
    request = ask(api, "access", customer)
    path = f"/v1/privacy/requests/{request['request_id']}"
    later = api.call("POST", f"{path}/extend", {"reason": "many systems"})
    assert later["due_at"] > request["due_at"]
    api.call("POST", f"{path}/extend", {"reason": "again"}, 409)
    clock.now += timedelta(days=91)
    assert api.call("GET", path)["overdue"]
    assert api.call("POST", f"{path}/refuse", {"reason": "identity was not proven"})["status"] == "refused"
    clock.now -= timedelta(days=91)
    chinese = api.store.execute(
        "select customer_id::text from profiles where profile -> 'country' ->> 'value' = 'CN' limit 1"
    ).fetchall()
    request = ask(api, "access", chinese[0][0])
    assert request["jurisdiction"] == "pipl"
    api.call("POST", f"/v1/privacy/requests/{request['request_id']}/extend", {"reason": "many systems"}, 409)


def test_a_second_erasure_while_one_runs_and_one_of_nobody(api, people):
    customer, _ = next(people)
    first = ask(api, "erasure", customer)
    assert {step["system"] for step in first["steps"]} >= {"landing", "lake", "store", "models", "quarantine"}
    answer = api.call("POST", "/v1/privacy/requests", {"kind": "erasure", "customer_id": customer}, 409)
    assert "under way" in answer["detail"]
    api.call("POST", "/v1/privacy/requests", {"kind": "erasure", "customer_id": NOBODY}, 404)
    api.call("POST", f"/v1/privacy/requests/{first['request_id']}/refuse", {"reason": "withdrawn by the person"})
    listed = api.call("GET", "/v1/privacy/requests?open_only=true")["requests"]
    assert first["request_id"] not in {row["request_id"] for row in listed}


def test_every_use_of_a_key_is_in_the_log_with_its_purpose_and_no_value(api, people):
    customer, email = next(people)
    api.call("GET", f"/v1/customers/{customer}", headers={"Purpose": "analytics"})
    api.call("GET", f"/v1/customers/{customer}?reveal=true&reason=a+call")
    rows = api.audited()
    assert ("GET /v1/customers/{customer_id}", customer, "analytics") in {row[:3] for row in rows}
    assert ("profile.reveal", customer, "service", "a call") in {(*row[:3], row[4]) for row in rows}
    assert email not in str(rows)


def test_a_changed_row_a_row_slipped_in_and_a_cut_tail_are_found(api, town):
    api.audited()
    with connect(owner_address(town)) as store:
        trail.seal(town, store, NOW)
        assert trail.verify(town, store) == []
        assert "whole" in cdp(town, "audit", "verify").stdout
        for change in (
            "update audit_log set actor = 'somebody else' where audit_id = (select last_id from audit_seals order by seal_id desc limit 1)",
            "delete from audit_log where audit_id = (select min(audit_id) from audit_log)",
            "insert into audit_log (audit_id, at, action, actor) overriding system value values (0, now(), 'x', 'y')",
            "delete from audit_seals where seal_id = (select max(seal_id) from audit_seals)",
            "with cut as (delete from audit_seals where seal_id = (select max(seal_id) from audit_seals) returning first_id) "
            "delete from audit_log where audit_id >= (select first_id from cut)",
            "update audit_seals set hash = repeat('0', 64) where seal_id = 1",
        ):
            store.execute("begin")
            store.execute("set local session_replication_role = replica")
            store.execute(change)
            assert trail.verify(town, store), change
            store.execute("rollback")
        assert trail.verify(town, store) == []
    with connect(owner_address(town)) as store, pytest.raises(psycopg.errors.IntegrityError):
        store.execute("delete from audit_log")
