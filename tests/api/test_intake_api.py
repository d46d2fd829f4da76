"""Events from client libraries: keys first, limits, what is damaged, and the real Segment library against a real server."""

import base64
import gzip
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import pytest
import uvicorn
from fastapi.testclient import TestClient

from api.app import create_app
from cdp.inbox import drain
from cdp.sources import intake
from cdp.sources.load import load_sources
from cdp.store import inbox, keys
from cdp.store.connect import connect, owner_address
from tests.api.test_loyalty_api import Clock
from tests.conftest import NOW, api_key

KINDS = ("identify", "track", "page", "screen", "alias", "group")


@pytest.fixture(scope="module")
def client(workspace):
    with TestClient(create_app(workspace.settings, clock=Clock())) as found:
        yield found


@pytest.fixture(scope="module")
def write_key(workspace):
    with connect(owner_address(workspace)) as store:
        return keys.create(store, workspace.secrets["pepper"], "sdk", ["events:write"], NOW, source="web")


def event(**more):
    return {
        "messageId": str(uuid4()),
        "type": "track",
        "event": "Product Reviewed",
        "userId": "u1",
        "timestamp": "2026-02-27T10:00:00Z",
        **more,
    }


def send(client, body, key=None, path="/v1/batch", status=200, **headers):
    auth = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()} if key else {}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(path, content=content, headers={"Content-Type": "application/json", **auth, **headers})
    assert response.status_code == status, response.text
    return response.json()


def kept(workspace, *names):
    with connect(owner_address(workspace)) as store:
        rows = store.execute(
            "select message_id, payload from inbox where message_id = any(%s) order by inbox_id", [list(names)]
        )
        return {name: json.loads(text) if text else None for name, text in rows.fetchall()}


@pytest.mark.parametrize("path", ["/v1/batch", *(f"/v1/{kind}" for kind in KINDS)])
def test_401_and_403_first(client, workspace, path):
    body = {"batch": [event()]} if path == "/v1/batch" else event()
    refused = send(client, body, path=path, status=401)
    assert {"code", "message", "detail", "title"} <= set(refused)
    send(client, body, key="cdp_no_key", path=path, status=401)
    reader = api_key(workspace, "profiles:read")["Authorization"].split()[1]
    assert "scope" in send(client, body, key=reader, path=path, status=403)["message"]
    homeless = api_key(workspace, "events:write")["Authorization"].split()[1]
    assert "no source" in send(client, body, key=homeless, path=path, status=403)["message"]


def test_the_key_comes_as_client_libraries_send_it(client, workspace, write_key):
    events = [event() for _ in range(3)]
    send(client, {"batch": [events[0]]}, key=write_key)
    send(client, {"batch": [events[1]], "writeKey": write_key})
    send(client, {"batch": [events[2]]}, Authorization=f"Bearer {write_key}")
    assert set(kept(workspace, *(e["messageId"] for e in events))) == {e["messageId"] for e in events}
    assert write_key not in json.dumps(list(kept(workspace, *(e["messageId"] for e in events)).values()))


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_has_its_endpoint(client, workspace, write_key, kind):
    one = event()
    del one["type"]
    send(client, one, key=write_key, path=f"/v1/{kind}")
    assert kept(workspace, one["messageId"])[one["messageId"]]["type"] == kind


def test_gzip_and_a_form_content_type_are_read(client, workspace, write_key):
    one, two = event(), event()
    send(client, gzip.compress(json.dumps({"batch": [one]}).encode()), key=write_key, **{"Content-Encoding": "gzip"})
    send(client, {"batch": [two]}, key=write_key, **{"Content-Type": "application/x-www-form-urlencoded"})
    assert len(kept(workspace, one["messageId"], two["messageId"])) == 2


def test_the_same_message_adds_nothing_and_one_without_an_id_is_known_by_what_it_says(client, workspace, write_key):
    one, nameless = event(), {"type": "page", "anonymousId": str(uuid4())}
    for _ in range(3):
        send(client, {"batch": [one, one, nameless]}, key=write_key)
    with connect(owner_address(workspace)) as store:
        rows = store.execute(
            "select count(*) from inbox where payload like %s or message_id = %s",
            [f"%{nameless['anonymousId']}%", one["messageId"]],
        ).fetchall()
    assert rows == [(2,)]


def test_a_senders_clock_is_corrected_by_when_it_says_it_sent(client, workspace, write_key):
    one = event(timestamp="2026-02-01T08:00:00Z")
    late = event(timestamp="2026-02-01T08:00:00Z")
    send(client, {"batch": [one], "sentAt": "2026-02-01T08:01:00Z"}, key=write_key)
    send(client, {"batch": [late]}, key=write_key)
    found = kept(workspace, one["messageId"], late["messageId"])
    corrected = datetime.fromisoformat(found[one["messageId"]]["timestamp"])
    assert abs(corrected - (NOW - timedelta(minutes=1))) < timedelta(minutes=1), (
        "a minute before it was sent, by our clock"
    )
    assert found[one["messageId"]]["originalTimestamp"] == "2026-02-01T08:00:00Z"
    assert found[late["messageId"]]["timestamp"] == "2026-02-01T08:00:00.000Z"


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"", {}, 400, "not JSON"), (b"{", {}, 400, "not JSON"), (b"[]", {}, 400, "no JSON object"), (b'{"batch": 5}', {}, 400, "no list"),
        (b'{"batch": [1]}', {}, 400, "no list"), (b"{}", {}, 400, "no list"), (b'{"a": 1, "a": 2}', {}, 400, "stands twice"), (b'{"a": NaN}', {}, 400, "not JSON"),
        ('{"batch": [{"type": "é"}]}'.encode("latin-1"), {}, 400, "not UTF-8"), (b"{}", {"Content-Encoding": "br"}, 400, "not known"),
        (b"{}", {"Content-Encoding": "gzip"}, 400, "no gzip"), (gzip.compress(b'{"batch": []}', mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400, "cut off"),
        (gzip.compress(b" " * 50_000_000, mtime=0), {"Content-Encoding": "gzip"}, 413, "500,000 bytes"), (b" " * 600_000, {}, 413, "500,000 bytes"),
        (json.dumps({"batch": [{"type": "track", "properties": {"x": "y" * 33_000}}]}).encode(), {}, 413, "32,000 bytes"),
        (b"[" * 200_000, {}, 400, ""),
    ],
    ids=count(),
)  # fmt: skip
def test_what_is_damaged_gets_a_precise_answer_and_nothing_is_half_stored(
    client, workspace, write_key, body, headers, status, said
):
    def stored():
        with connect(owner_address(workspace)) as store:
            return store.execute("select count(*) from inbox").fetchall()

    before = stored()
    answer = send(client, body, key=write_key, status=status, **headers)
    assert said in answer["message"]
    assert answer["status"] == status
    good_and_bad = {"batch": [event(), {"type": "track", "properties": {"x": "y" * 33_000}}]}
    send(client, good_and_bad, key=write_key, status=413)
    assert stored() == before


def test_what_waits_becomes_a_landing_file_once_and_a_late_repeat_is_known(client, workspace, write_key):
    names = [event(event=f"E{n}") for n in range(5)]
    send(client, {"batch": names}, key=write_key)
    sources, landing = load_sources(workspace), workspace.path("landing")
    with connect(owner_address(workspace)) as store:
        drain(store, landing, sources, NOW)
        lines = [
            json.loads(line) for path in landing.glob("web/inbox-*.jsonl") for line in path.read_text().splitlines()
        ]
        assert {e["messageId"] for e in names} <= {line["messageId"] for line in lines}
        send(client, {"batch": names}, key=write_key)
        assert inbox.waiting(store, "web", 10) == []
        assert drain(store, landing, sources, NOW) == 0


def test_odd_text_stays_what_it_was(client, workspace, write_key):
    one = event(traits={"name": "王小明 😀 nul\x00 \u2028"})
    send(client, {"batch": [one]}, key=write_key)
    found = kept(workspace, one["messageId"])[one["messageId"]]
    assert found["traits"] == one["traits"]
    strange = event(messageId="a\x00b")
    send(client, {"batch": [strange]}, key=write_key)


@pytest.fixture
def server(workspace):
    """The API behind a real socket; `restart` takes it down and up again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []

    class Server:
        url = f"http://127.0.0.1:{port}"

        def start(self):
            found = uvicorn.Server(
                uvicorn.Config(create_app(workspace.settings), host="127.0.0.1", port=port, log_level="error")
            )
            thread = threading.Thread(target=found.run, daemon=True)
            thread.start()
            running.append((found, thread))
            while not found.started:
                time.sleep(0.02)

        def stop(self):
            found, thread = running.pop()
            found.should_exit = found.force_exit = True
            thread.join(20)

    made = Server()
    made.start()
    yield made
    if running:
        made.stop()


def test_the_real_segment_library_delivers_every_event_once_also_over_a_restart(workspace, server, write_key):
    analytics = pytest.importorskip("segment.analytics.client")
    failed = []
    sender = analytics.Client(
        write_key,
        host=server.url,
        on_error=lambda error, batch: failed.append(error),
        upload_size=10,
        upload_interval=0.2,
        max_retries=10,
        gzip=True,
    )
    names = [str(uuid4()) for _ in range(120)]
    at = datetime.now(UTC)
    for number, name in enumerate(names):
        if number == 40:
            server.stop()
        if number == 80:
            threading.Timer(1.0, server.start).start()
        sender.track("u1", "Product Reviewed", {"rating": 5}, timestamp=at, message_id=name)
        time.sleep(0.005)
    sender.flush()
    sender.join()
    assert not failed
    assert set(kept(workspace, *names)) == set(names)


def test_limits_are_segments_own():
    assert (intake.MOST_EVENT, intake.MOST_BATCH) == (32_000, 500_000)
