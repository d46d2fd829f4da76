"""What holds for every endpoint: request ids, limits of keys and bodies, key life, metrics, logs without people, ends told ahead."""

import asyncio
import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.keyring import SECONDS
from api.lifecycle import deprecated
from api.limits import Limiter
from cdp.clock import system_now
from cdp.store import keys
from cdp.store.connect import connect, owner_address
from tests.api.test_loyalty_api import Clock
from tests.conftest import api_key, cdp


@pytest.fixture(scope="module")
def client(workspace):
    with TestClient(create_app(workspace.settings), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def reader(workspace):
    return api_key(workspace, "profiles:read", "changes:read")


def made(workspace, name, **more):
    with connect(owner_address(workspace)) as store:
        text = keys.create(store, workspace.secrets["pepper"], name, ["changes:read"], system_now(), **more)
    return {"Authorization": f"Bearer {text}"}


def test_a_request_has_an_id_from_the_caller_its_trace_or_us(client, reader):
    ours = client.get("/v1/changes", headers=reader).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", ours)
    assert (
        client.get("/v1/changes", headers=reader | {"X-Request-Id": "till-7.42"}).headers["x-request-id"] == "till-7.42"
    )
    trace = "0af7651916cd43dd8448eb211c80319c"
    traced = client.get("/v1/changes", headers=reader | {"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert traced.headers["x-request-id"] == trace
    for broken in ("a b", "x" * 65, "<script>"):
        assert client.get("/healthz", headers={"X-Request-Id": broken}).headers["x-request-id"] != broken


def test_what_is_left_of_a_limit_is_told_and_one_call_too_many_is_refused(client, workspace):
    narrow = made(workspace, "narrow", rate_limit=3)
    left = [client.get("/v1/changes", headers=narrow).headers for _ in range(3)]
    assert [h["ratelimit-policy"] for h in left] == ['"key";q=3;w=60'] * 3
    assert [re.fullmatch(r'"key";r=(\d);t=(\d+)', h["ratelimit"])[1] for h in left] == ["2", "1", "0"]
    refused = client.get("/v1/changes", headers=narrow)
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert client.get("/v1/changes", headers=made(workspace, "other")).status_code == 200, "each key has its own"


def test_a_window_ends():
    now = [0.0]
    limiter = Limiter(lambda: now[0])
    assert [limiter.take("k", 2).remaining for _ in range(3)] == [1, 0, -1]
    now[0] = 59.9
    assert limiter.take("k", 2).remaining == -2
    assert limiter.take("k", 2).seconds == 1
    now[0] = 60.0
    assert limiter.take("k", 2).remaining == 1


def test_a_body_of_50_mb_is_refused_without_being_read(client, reader):
    taken, sent = [], []

    async def receive():
        taken.append(65_536)
        return {"type": "http.request", "body": b" " * 65_536, "more_body": len(taken) < 800}

    async def send(message):
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in reader.items()] + [
        (b"content-type", b"application/json")
    ]
    path = "/v1/customers/lookup"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers, "http_version": "1.1",
             "scheme": "http", "server": ("test", 80), "client": ("test", 1), "app": client.app, "asgi": {"version": "3.0"}}  # fmt: skip
    asyncio.run(client.app(scope, receive, send))
    assert sent[0]["status"] == 413
    problem = json.loads(sent[1]["body"])
    assert (problem["title"], problem["status"]) == ("Too large", 413)
    assert sum(taken) < 1_100_000


def test_a_changed_key_holds_with_the_one_before_until_the_overlap_ends(client, workspace):
    before = made(workspace, "till")
    text = cdp(workspace, "keys", "rotate", "till", "--overlap-hours", "1").stdout.splitlines()[-1]
    after = {"Authorization": f"Bearer {text}"}
    assert [client.get("/v1/changes", headers=h).status_code for h in (before, after)] == [200, 200]
    said = {
        key: client.get("/v1/changes", headers=h).headers["ratelimit"]
        for key, h in (("before", before), ("after", after))
    }
    assert said["before"] != said["after"], "both texts are one key: they share its limit"
    with connect(owner_address(workspace)) as store:
        store.execute("update api_keys set old_until = now() where name = 'till'")
    time.sleep(SECONDS)
    assert [client.get("/v1/changes", headers=h).status_code for h in (before, after)] == [401, 200]


def test_a_key_ends_on_its_day_and_tells_when_it_was_used(client, workspace):
    short = made(workspace, "short", expires_at=system_now() + timedelta(days=1))
    assert client.get("/v1/changes", headers=short).status_code == 200
    client.app.state.context.trail.flush()
    line = next(line for line in cdp(workspace, "keys", "list").stdout.splitlines() if line.startswith("short"))
    assert "12,000/min" in line
    assert f"{system_now():%Y-%m-%d}" in line
    assert "never" not in line
    with connect(owner_address(workspace)) as store:
        store.execute("update api_keys set expires_at = now() where name = 'short'")
    time.sleep(SECONDS)
    assert client.get("/v1/changes", headers=short).status_code == 401


def test_the_end_of_a_key_that_was_just_read_is_its_end(workspace):
    """What is kept of a key for a moment never outlives the key: its ends are looked at in every call."""
    clock = Clock()
    with TestClient(create_app(workspace.settings, clock=clock)) as client:
        ends = made(workspace, "ends", expires_at=clock() + timedelta(minutes=5))
        assert client.get("/v1/changes", headers=ends).status_code == 200
        clock.now += timedelta(minutes=5)
        assert client.get("/v1/changes", headers=ends).status_code == 401


def test_metrics_count_routes_not_people(client, reader, workspace):
    someone = "0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77"
    client.get(f"/v1/customers/{someone}", headers=reader)
    client.get("/nowhere/mei@example.org")
    text = client.get("/metrics").text
    assert 'cdp_api_requests_total{method="GET",route="/v1/customers/{customer_id}",status="404"}' in text
    assert 'route="none",status="404"' in text
    assert "cdp_api_request_seconds_bucket" in text
    assert someone not in text
    assert "mei@" not in text


def test_a_log_line_names_route_key_and_request_and_nobody(client, reader):
    with structlog.testing.capture_logs() as lines:
        answer = client.post(
            "/v1/customers/lookup?mei=1", json={"value": "mei@example.org"}, headers=reader | {"X-Request-Id": "r-1"}
        )
    line = next(line for line in lines if line["event"] == "request")
    assert (line["route"], line["status"], line["request_id"]) == ("/v1/customers/lookup", answer.status_code, "r-1")
    assert line["key"]
    assert "mei" not in json.dumps(lines)


def test_a_failure_of_ours_is_answered_counted_and_logged_without_its_text(workspace):
    app = create_app(workspace.settings)

    @app.get("/broken")
    def broken():
        raise ValueError("mei@example.org")

    with TestClient(app) as client, structlog.testing.capture_logs() as lines:
        answer = client.get("/broken", headers={"X-Request-Id": "r-2"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (500, "r-2")
        assert answer.headers["content-type"] == "application/problem+json"
        assert 'route="/broken",status="500"' in client.get("/metrics").text
    assert {"request", "unexpected error"} <= {line["event"] for line in lines}
    assert "mei@" not in json.dumps(lines) + answer.text


@pytest.mark.parametrize("method", ["TRACE", "DELETE", "FOO"])
def test_a_method_nobody_declared_is_a_problem_document(client, method):
    answer = client.request(method, "/v1/changes")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert "allow" in answer.headers


def test_an_endpoint_that_will_go_says_so():
    app = FastAPI()
    app.get("/old", **deprecated(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), "/v2/new"))(
        lambda: {}
    )
    headers = TestClient(app).get("/old").headers
    assert headers["deprecation"] == "@1767225600"
    assert headers["sunset"] == "Fri, 01 Jan 2027 00:00:00 GMT"
    assert headers["link"] == '</v2/new>; rel="successor-version"'
    assert app.openapi()["paths"]["/old"]["get"]["deprecated"]


def test_every_endpoint_declares_what_it_may_refuse_with_an_example(client):
    for path, operations in client.app.openapi()["paths"].items():
        for operation in operations.values():
            declared = operation["responses"]
            if "401" in declared:
                assert {"403", "413", "429", "503"} <= set(declared), path
            for status, response in declared.items():
                if status >= "400":
                    assert response["content"]["application/problem+json"]["example"]["status"] == int(status), path
