"""Webhooks by the API: keys first, addresses judged, secrets told once, how each stands, dead letters replayed."""

from datetime import timedelta
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from cdp.store import changes, webhooks
from cdp.store.connect import connect, owner_address
from cdp.webhooks.deliver import SCHEDULE, Courier
from cdp.webhooks.post import Answer
from tests.api.test_loyalty_api import Clock
from tests.conftest import NOW, api_key

PUBLIC = "https://93.184.216.34/hooks/secret-path"


@pytest.fixture(scope="module")
def client(workspace):
    with TestClient(create_app(workspace.settings, clock=Clock())) as found:
        yield found


@pytest.fixture(scope="module")
def admin(workspace):
    return api_key(workspace, "admin")


@pytest.fixture
def hook(client, admin):
    made = client.post("/v1/webhooks", json={"name": f"h{uuid4().hex}", "url": PUBLIC}, headers=admin)
    assert made.status_code == 201, made.text
    return made.json()


PATHS = [
    ("POST", "", {"name": "x", "url": PUBLIC}), ("GET", "", None), ("DELETE", f"/{uuid4()}", None), ("POST", f"/{uuid4()}/rotate", {}),
    ("POST", f"/{uuid4()}/resume", None), ("GET", f"/{uuid4()}/dead-letters", None), ("POST", f"/{uuid4()}/replay", {}), ("POST", f"/{uuid4()}/skip", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), PATHS, ids=range(len(PATHS)))
def test_401_403_and_404_first(client, workspace, admin, method, path, body):
    path = f"/v1/webhooks{path}"
    assert client.request(method, path, json=body).status_code == 401
    assert client.request(method, path, json=body, headers=api_key(workspace, "changes:read")).status_code == 403
    if path != "/v1/webhooks":
        assert client.request(method, path, json=body, headers=admin).status_code == 404


def test_a_secret_is_told_once_and_another_one_after_a_rotation(client, admin, hook):
    assert hook["secret"].startswith("whsec_")
    [listed] = [one for one in client.get("/v1/webhooks", headers=admin).json() if one["name"] == hook["name"]]
    assert "secret" not in listed
    rotated = client.post(f"/v1/webhooks/{hook['webhook_id']}/rotate", json={"overlap_hours": 1}, headers=admin).json()
    assert rotated["secret"] != hook["secret"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"url": "https://127.0.0.1/x"}, "not public"), ({"url": "https://169.254.169.254/latest"}, "not public"), ({"url": "http://93.184.216.34/"}, "https"),
     ({"url": "https://no-such-host.invalid/"}, "looked up"), ({"types": ["weather"]}, "schema"), ({"name": "a b"}, "schema")],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_reason_and_without_the_address(client, admin, asked, said):
    answer = client.post("/v1/webhooks", json={"name": "bad", "url": PUBLIC, **asked}, headers=admin)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert "169.254" not in answer.text
    assert client.get("/v1/webhooks", headers=admin).text.count('"bad"') == 0


def test_a_name_stands_once(client, admin, hook):
    assert client.post("/v1/webhooks", json={"name": hook["name"], "url": PUBLIC}, headers=admin).status_code == 409


def test_how_it_stands_what_was_given_up_and_what_is_replayed(client, workspace, admin, hook):
    path, answers = f"/v1/webhooks/{hook['webhook_id']}", [Answer(500, 0, "answered 500")] * len(SCHEDULE)

    def shown():
        return next(one for one in client.get("/v1/webhooks", headers=admin).json() if one["name"] == hook["name"])

    with connect(owner_address(workspace)) as store:
        customer = str(uuid4())
        store.execute("delete from webhooks where webhook_id <> %s", [hook["webhook_id"]])
        changes.add(store, [("balance.changed", customer, {})], NOW)
        assert shown()["state"] == "under way"
        moment = NOW + timedelta(minutes=1)
        courier = Courier(workspace, lambda: moment, lambda *_: answers.pop() if answers else Answer(204))
        for wait in SCHEDULE:
            moment += timedelta(seconds=wait)
            courier.look(store, lambda work, *arguments: work(*arguments))
            if answers:
                assert (shown()["state"], shown()["last_error"]) == ("failing", "answered 500")
        page = client.get(f"{path}/dead-letters", headers=admin).json()
        assert [(d["customer_id"], d["error"]) for d in page["dead_letters"]] == [(customer, "answered 500")]
        assert client.post(f"{path}/replay", json={"positions": [1 << 40]}, headers=admin).json() == {"replayed": 0}
        assert client.post(f"{path}/replay", json={}, headers=admin).json() == {"replayed": 1}
        courier.look(store, lambda work, *arguments: work(*arguments))
        assert client.get(f"{path}/dead-letters", headers=admin).json() == {"dead_letters": [], "next": None}
        store.execute("update webhooks set disabled_at = now()")
        assert shown()["state"] == "ended"
        assert client.post(f"{path}/resume", headers=admin).json()["state"] == "failing"
        assert webhooks.get(store, hook["webhook_id"]).attempts == 0
    assert client.delete(path, headers=admin).status_code == 204
    assert client.delete(path, headers=admin).status_code == 404


def test_what_was_done_is_audited_by_name_without_the_address(client, workspace, admin, hook):
    client.delete(f"/v1/webhooks/{hook['webhook_id']}", headers=admin)
    with connect(owner_address(workspace)) as store:
        rows = store.execute(
            "select action, details::text from audit_log where details ->> 'webhook' = %s order by 1", [hook["name"]]
        ).fetchall()
        assert [action for action, _ in rows] == ["webhook.added", "webhook.removed"]
        assert (
            "secret-path"
            not in store.execute("select string_agg(to_jsonb(a)::text, '') from audit_log a").fetchone()[0]
        )
