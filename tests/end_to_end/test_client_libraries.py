"""Real client libraries of the Segment family against a real server that is killed, limits, fails and loses answers."""

import itertools
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from benchmarks.serving import Served
from cdp.store import keys
from cdp.store.connect import connect, owner_address
from tests.conftest import NOW, ROOT

pytestmark = pytest.mark.long

NODE = ROOT / "tests" / "node"


class Line:
    """The way to the service: every few requests it limits, fails, or loses the answer to what was done."""

    def __init__(self, upstream):
        turns, said = itertools.count(1), Counter()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body, turn = self.rfile.read(int(self.headers["Content-Length"])), next(turns)
                fault = {2: 429, 4: 503, 6: "lost"}.get(turn % 8)
                said[fault or "passed"] += 1
                if isinstance(fault, int):
                    return self.answer(fault, b'{"code": "later", "message": "later"}', {"Retry-After": "1"})
                status, text = self.forward(body)
                if fault == "lost":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return None
                return self.answer(status, text, {})

            def forward(self, body):
                sent = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in ("host", "content-length")
                }
                asked = urllib.request.Request(upstream + self.path, body, sent, method="POST")
                try:
                    with urllib.request.urlopen(asked, timeout=10) as found:
                        return found.status, found.read()
                except urllib.error.HTTPError as error:
                    return error.code, error.read()
                except OSError:
                    said["down"] += 1
                    return 503, b'{"code": "down", "message": "down"}'

            def answer(self, status, text, headers):
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(text)),
                    **headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.said, self._server = said, ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()


@pytest.fixture
def service(workspace):
    made = Served(workspace)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def line(service):
    made = Line(f"http://127.0.0.1:{service.port}")
    yield made
    made.close()


@pytest.fixture
def write_key(workspace):
    with connect(owner_address(workspace)) as store:
        return keys.create(store, workspace.secrets["pepper"], f"sdk-{uuid4()}", ["events:write"], NOW, source="web")


def python_library(url, key, names):
    """A process that sends with `segment-analytics-python`."""
    code = """
import sys, time
from datetime import UTC, datetime
from segment.analytics.client import Client
url, key, *names = sys.argv[1:]
failed = []
sender = Client(key, host=url, on_error=lambda error, batch: failed.extend(batch), upload_size=10, upload_interval=0.2, max_retries=20, gzip=True)
for name in names:
    sender.track("u1", "Product Reviewed", {"rating": 5}, timestamp=datetime.now(UTC), message_id=name)
    time.sleep(0.01)
sender.flush(); sender.join()
for event in failed: print("failed", event["messageId"])
"""
    return [sys.executable, "-c", code, url, key, *names]


def node_library(url, key, names):
    """A process that sends with `@rudderstack/rudder-sdk-node`."""
    if shutil.which("node") is None or not (NODE / "node_modules").is_dir():
        pytest.skip("Node or its libraries are absent: npm install --prefix tests/node")
    return ["node", str(NODE / "send.js"), url, key, *names]


@pytest.mark.parametrize("library", [python_library, node_library])
def test_every_event_arrives_once_over_a_kill_a_limit_a_failure_and_a_lost_answer(
    workspace, service, line, write_key, library
):
    names = [str(uuid4()) for _ in range(150)]
    sending = subprocess.Popen(library(line.url, write_key, names), stdout=subprocess.PIPE, text=True)
    time.sleep(0.8)
    service.kill()
    time.sleep(0.7)
    service.start()
    said, _ = sending.communicate(timeout=120)
    assert said == "", "the library gave up on nothing"
    with connect(owner_address(workspace)) as store:
        rows = store.execute(
            "select message_id, count(*), min(payload::jsonb ->> 'event') from inbox where message_id = any(%s) group by 1",
            [names],
        ).fetchall()
    assert {row[0] for row in rows} == set(names)
    assert {row[1:] for row in rows} == {(1, "Product Reviewed")}
    assert {429, 503, "lost", "passed"} <= set(line.said), "each of them happened"
