"""Webhooks, a test for each clause: what is signed, where it may go, when it is tried again, in which order, what is given up."""

import base64
import json
import socket
import ssl
import threading
import time
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from cdp.clock import system_now
from cdp.doctor import examine
from cdp.errors import Conflict
from cdp.privacy import retention
from cdp.store import changes, webhooks
from cdp.store.connect import connect, owner_address
from cdp.webhooks import guard, manage, message
from cdp.webhooks.deliver import AT_ONCE, LEASE, SCHEDULE, Courier
from cdp.webhooks.post import post
from cdp.workspace import Workspace
from tests.conftest import cdp


class Receiver:
    """A real HTTP server that keeps what it got and answers what it is told to, else 200."""

    def __init__(self, tls=None):
        self.got, self.answers, self.slow, self.held = [], deque(), 0.0, threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, dict(self.headers.items()), body))
                time.sleep(receiver.slow)
                status, more = receiver.answers.popleft() if receiver.answers else (200, {})
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if tls else ''}://{'localhost' if tls else '127.0.0.1'}:{self.port}/hook?channel=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def events(self):
        return [json.loads(body) for _, _, body in self.got]


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.server.shutdown()


@pytest.fixture(scope="module")
def inside(workspace):
    """The workspace as one whose deployment lets webhooks go to this machine."""
    return Workspace(workspace.settings.model_copy(update={"webhook_networks": "127.0.0.0/8"}))


class Clock:
    def __init__(self):
        self.now = system_now()

    def __call__(self):
        return self.now


@pytest.fixture
def desk(inside, receiver):
    with connect(owner_address(inside)) as store:
        store.execute("delete from webhooks")
        yield Desk(inside, store, receiver)


class Desk:
    """One webhook at one receiver, and a courier that is moved by hand."""

    def __init__(self, workspace, store, receiver, types=()):
        self.workspace, self.store, self.receiver, self.clock = workspace, store, receiver, Clock()
        self.courier = Courier(workspace, self.clock)
        manage.judge(workspace, "shop", receiver.url, types)
        self.hook, self.secret = manage.add(store, workspace, "shop", receiver.url, types, self.clock())

    def change(self, kind="balance.changed", customer=None, details=None):
        customer = customer or str(uuid4())
        changes.add(self.store, [(kind, customer, details or {})], self.clock())
        return customer

    def look(self, seconds=0.0):
        """Move the clock, and let the courier make a turn; what it says now of the webhook."""
        self.clock.now += timedelta(seconds=seconds)
        self.courier.look(self.store, lambda work, *arguments: work(*arguments))
        return webhooks.get(self.store, self.hook.webhook_id)


# --- what is sent


def test_a_change_is_a_thin_cloudevent_signed_as_standard_webhooks_says(desk):
    customer = desk.change("customer.updated")
    desk.look()
    [(path, headers, body)] = desk.receiver.got
    assert path == "/hook?channel=1"
    said = Verifier(desk.secret).verify(body, headers)
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert said["specversion"] == "1.0"
    assert (said["type"], said["subject"], said["id"]) == ("customer.updated", customer, headers["webhook-id"])
    assert datetime.fromisoformat(said["time"]).tzinfo is not None
    assert said["source"].startswith("urn:omnichannel-cdp:")
    assert said["data"].keys() == {"customer_id", "position", "details"}, (
        "thin: whoever wants more asks, and is audited"
    )


def test_a_changed_body_another_id_and_an_old_moment_are_not_verified(desk):
    desk.change()
    desk.look()
    [(_, headers, body)] = desk.receiver.got
    verifier = Verifier(desk.secret)
    for altered in (
        (body + b" ", headers),
        (body, headers | {"webhook-id": "another"}),
        (body, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(*altered)
    desk.clock.now -= timedelta(minutes=6)
    old = message.headers("x", b"{}", [desk.secret], desk.clock())
    with pytest.raises(WebhookVerificationError, match="too old"):
        verifier.verify(b"{}", old)


def test_while_a_secret_changes_both_sign_and_then_the_new_one_alone(desk):
    _, fresh = manage.rotate(desk.store, desk.workspace, desk.hook, timedelta(hours=1), desk.clock())
    assert fresh != desk.secret
    desk.change()
    desk.look()
    _, headers, body = desk.receiver.got[-1]
    for secret in (desk.secret, fresh):
        Verifier(secret).verify(body, headers)
    desk.change()
    desk.look(3601)
    _, headers, body = desk.receiver.got[-1]
    assert len(headers["webhook-signature"].split(" ")) == 1
    moved = headers | {"webhook-timestamp": headers["webhook-timestamp"]}
    expected = message.headers(headers["webhook-id"], body, [fresh], desk.clock())
    assert moved["webhook-signature"] == expected["webhook-signature"]


def test_no_secret_is_stored_and_each_webhook_has_its_own(desk):
    row = desk.store.execute("select to_jsonb(w)::text from webhooks w").fetchone()[0]
    assert base64.b64decode(desk.secret.removeprefix("whsec_")).hex() not in row
    assert desk.secret.removeprefix("whsec_") not in row
    assert len(base64.b64decode(desk.secret.removeprefix("whsec_"))) == 32
    secrets = {message.secret("pepper", hook, generation) for hook in ("a", "b") for generation in (1, 2)}
    assert len(secrets) == 4


def test_a_payload_stays_below_twenty_kilobytes(desk):
    desk.change("customer.merged", details={"customers": [str(uuid4()) for _ in range(1000)]})
    desk.look()
    [(_, headers, body)] = desk.receiver.got
    assert len(body) < 20_000
    assert Verifier(desk.secret).verify(body, headers)["data"]["details"] == {"cut": True}


def test_only_the_types_that_were_asked_for_are_sent_and_nothing_from_before(inside, receiver):
    with connect(owner_address(inside)) as store:
        store.execute("delete from webhooks")
        changes.add(store, [("consent.changed", str(uuid4()), {})], system_now())
        desk = Desk(inside, store, receiver, ["consent.changed"])
        desk.change("balance.changed")
        wanted = desk.change("consent.changed")
        hook = desk.look()
        assert [event["subject"] for event in receiver.events] == [wanted]
        assert webhooks.behind(store)[hook.webhook_id] == 0


# --- what counts as taken, and when it is tried again


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_takes_it(desk, status):
    desk.receiver.answers.append((status, {}))
    desk.change()
    assert desk.look().attempts == 0
    desk.look(100_000)
    assert len(desk.receiver.got) == 1


@pytest.mark.parametrize("status", [302, 400, 401, 404, 408, 409, 422, 500, 502, 503])
def test_anything_else_is_tried_again_and_a_redirect_is_not_followed(desk, status):
    desk.receiver.answers.append((status, {"location": f"http://127.0.0.1:{desk.receiver.port}/elsewhere"}))
    desk.change()
    hook = desk.look()
    assert (hook.attempts, hook.last_error) == (1, f"answered {status}")
    told = next(finding for finding in examine(desk.workspace.settings) if finding.name == "webhooks")
    assert (told.sound, "shop" in told.detail) == (False, True)
    hook = desk.look(5)
    assert (hook.attempts, hook.last_error, hook.failing_since) == (0, None, None)
    assert [path for path, _, _ in desk.receiver.got] == ["/hook?channel=1"] * 2


def test_the_published_schedule_is_kept_under_one_id_and_then_it_is_a_dead_letter(desk):
    assert SCHEDULE == (0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
    desk.receiver.answers.extend([(500, {})] * len(SCHEDULE))
    desk.change()
    desk.look()
    for attempt, wait in enumerate(SCHEDULE[1:], start=2):
        desk.look(wait - 1)
        assert len(desk.receiver.got) == attempt - 1, f"attempt {attempt} waits {wait} s"
        hook = desk.look(1)
        assert len(desk.receiver.got) == attempt
    assert len({headers["webhook-id"] for _, headers, _ in desk.receiver.got}) == 1
    assert len({headers["webhook-timestamp"] for _, headers, _ in desk.receiver.got}) == len(SCHEDULE)
    [letter] = webhooks.dead_letters(desk.store, hook.webhook_id)
    assert (letter["error"], letter["type"]) == ("answered 500", "balance.changed")
    after = desk.change()
    desk.look()
    assert desk.receiver.events[-1]["subject"] == after, "what comes after a dead letter is sent"


def test_retry_after_is_heeded(desk):
    desk.receiver.answers.extend([(429, {"retry-after": "600"}), (503, {"retry-after": "soon"})])
    desk.change()
    desk.look()
    desk.look(599)
    assert len(desk.receiver.got) == 1
    desk.look(1)
    assert len(desk.receiver.got) == 2
    desk.look(SCHEDULE[2])
    assert len(desk.receiver.got) == 3


def test_410_ends_it_and_whoever_takes_it_up_again_lost_nothing(desk):
    desk.receiver.answers.append((410, {}))
    first, second = desk.change(), desk.change()
    hook = desk.look()
    assert (hook.disabled_at is not None, manage.state(hook, 2)) == (True, "ended")
    desk.look(1_000_000)
    assert len(desk.receiver.got) == 1
    webhooks.resume(desk.store, hook.webhook_id, desk.clock())
    desk.look()
    assert [event["subject"] for event in desk.receiver.events] == [first, first, second]


# --- order and back-pressure


def test_what_fails_holds_back_what_comes_after_it(desk):
    desk.receiver.answers.extend([(200, {}), (500, {}), (500, {})])
    customers = [desk.change() for _ in range(4)]
    for seconds in (0, 5, 300):
        desk.look(seconds)
    assert [event["subject"] for event in desk.receiver.events] == [customers[n] for n in (0, 1, 1, 1, 2, 3)]


def test_a_slow_receiver_slows_itself_alone(desk):
    desk.receiver.slow = 0.5
    fast = Receiver()
    manage.add(desk.store, desk.workspace, "fast", fast.url, [], desk.clock())
    customers = [desk.change() for _ in range(6)]
    stop, began = threading.Event(), time.monotonic()
    runner = threading.Thread(target=Courier(desk.workspace).run, args=[stop])
    runner.start()
    while len(fast.got) < 6 and time.monotonic() - began < 20:
        time.sleep(0.02)
    slow_then = len(desk.receiver.got)
    while len(desk.receiver.got) < 6 and time.monotonic() - began < 20:
        time.sleep(0.02)
    stop.set()
    runner.join()
    fast.server.shutdown()
    assert slow_then < 6
    for each in (fast, desk.receiver):
        assert [event["subject"] for event in each.events] == customers


def test_nothing_is_copied_for_a_receiver_that_is_away_and_it_has_one_call_at_a_time(desk):
    desk.receiver.answers.append((500, {}))
    for _ in range(150):
        desk.change()
    hook = desk.look()
    assert len(desk.receiver.got) == 1
    assert webhooks.behind(desk.store)[hook.webhook_id] == 150
    assert webhooks.dead_letters(desk.store, hook.webhook_id) == []
    desk.look(5)
    assert len(desk.receiver.got) == 101, "a turn has an end, so that others have theirs"
    desk.look()
    assert len(desk.receiver.got) == 151


def test_two_couriers_never_have_the_same_webhook_and_a_dead_one_loses_it(desk):
    desk.change()
    changes.sequence(desk.store)
    now = desk.clock()
    [held] = webhooks.lease(desk.store, now, now + LEASE, 8)
    assert webhooks.lease(desk.store, now, now + LEASE, 8) == []
    desk.look(LEASE.total_seconds() + 1)
    assert len(desk.receiver.got) == 1
    assert not webhooks.keep(desk.store, held, position=0), "who lost it writes nothing"


def test_a_courier_that_was_killed_before_it_noted_sends_once_more_under_the_same_id(desk):
    desk.change()

    def dies(*arguments):
        post(*arguments)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Courier(desk.workspace, desk.clock, dies).look(desk.store, lambda work, *arguments: work(*arguments))
    desk.look(LEASE.total_seconds() + 1)
    assert len({headers["webhook-id"] for _, headers, _ in desk.receiver.got}) == 1
    assert len(desk.receiver.got) == 2


def test_a_webhook_that_is_removed_in_the_middle_is_called_no_more(desk):
    first, _ = desk.change(), desk.change()

    def removes(*arguments):
        webhooks.remove(desk.store, desk.hook.webhook_id)
        return post(*arguments)

    Courier(desk.workspace, desk.clock, removes).look(desk.store, lambda work, *arguments: work(*arguments))
    assert [event["subject"] for event in desk.receiver.events] == [first]


# --- dead letters


def bury(desk, count):
    """Changes that nobody took, as dead letters."""
    customers = [desk.change() for _ in range(count)]
    for _ in range(count):
        desk.receiver.answers.extend([(500, {})] * len(SCHEDULE))
        for wait in SCHEDULE:
            desk.look(wait)
    return customers


def test_dead_letters_are_replayed_under_their_ids_and_kept_where_refused_again(desk):
    first, second = bury(desk, 2)
    letters = webhooks.dead_letters(desk.store, desk.hook.webhook_id)
    assert [letter["customer_id"] for letter in letters] == [first, second]
    before = {event["subject"]: event["id"] for event in desk.receiver.events}
    desk.receiver.got.clear()
    desk.receiver.answers.clear()
    desk.receiver.answers.append((503, {}))
    assert webhooks.replay(desk.store, desk.hook.webhook_id, None, desk.clock()) == 2
    for seconds in (0, 1):
        desk.look(seconds)
    assert [(event["subject"], event["id"]) for event in desk.receiver.events] == list(before.items())
    [left] = webhooks.dead_letters(desk.store, desk.hook.webhook_id)
    assert (left["customer_id"], left["error"], left["replay_at"]) == (first, "answered 503", None)
    desk.look(1000)
    assert len(desk.receiver.got) == 2, "a replay is tried once"
    assert webhooks.replay(desk.store, desk.hook.webhook_id, [left["position"]], desk.clock()) == 1
    desk.look()
    assert webhooks.dead_letters(desk.store, desk.hook.webhook_id) == []


def test_a_change_that_is_never_taken_can_be_skipped(desk):
    with pytest.raises(Conflict, match="nothing holds"):
        webhooks.skip(desk.store, desk.hook.webhook_id, desk.clock())
    desk.receiver.answers.append((400, {}))
    first, second = desk.change(), desk.change()
    desk.look()
    assert webhooks.skip(desk.store, desk.hook.webhook_id, desk.clock()) > 0
    desk.look()
    assert [event["subject"] for event in desk.receiver.events] == [first, second]
    [letter] = webhooks.dead_letters(desk.store, desk.hook.webhook_id)
    assert (letter["customer_id"], letter["error"]) == (first, "answered 400")


# --- what a turn, an error, a restart and retention do


def test_a_turn_ends_in_time_and_nobody_is_called_twice_at_once(desk, monkeypatch):
    monkeypatch.setattr("cdp.webhooks.deliver.TURN", 0.4)
    desk.receiver.slow = 0.15
    customers = [desk.change() for _ in range(8)]
    under_way, most = 0, 0

    def counted(*arguments):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        answer = post(*arguments)
        under_way -= 1
        return answer

    courier, stop = Courier(desk.workspace, system_now, counted), threading.Event()
    runner = threading.Thread(target=courier.run, args=[stop])
    runner.start()
    until = time.monotonic() + 20
    while len(desk.receiver.got) < 8 and time.monotonic() < until:
        time.sleep(0.02)
    stop.set()
    runner.join()
    assert [event["subject"] for event in desk.receiver.events] == customers
    assert most == 1


def test_a_replay_ends_with_its_turn_and_goes_on_in_the_next(desk, monkeypatch):
    customers = bury(desk, 3)
    desk.receiver.got.clear()
    desk.receiver.answers.clear()
    monkeypatch.setattr("cdp.webhooks.deliver.TURN", 0.1)
    desk.receiver.slow = 0.15
    webhooks.replay(desk.store, desk.hook.webhook_id, None, desk.clock())
    for turn in range(1, 4):
        desk.look()
        assert len(desk.receiver.got) == turn
    assert [event["subject"] for event in desk.receiver.events] == customers


def test_stopping_ends_a_turn_after_the_call_under_way(desk):
    desk.receiver.slow = 0.3
    for _ in range(20):
        desk.change()
    stop = threading.Event()
    runner = threading.Thread(target=Courier(desk.workspace).run, args=[stop])
    runner.start()
    while not desk.receiver.got:
        time.sleep(0.02)
    stop.set()
    runner.join(timeout=5)
    assert not runner.is_alive()
    assert len(desk.receiver.got) < 5
    [hook] = webhooks.lease(desk.store, system_now(), system_now() + LEASE, 8)
    assert hook.name == "shop", "what is stopped holds no lease"


def test_an_error_while_leasing_costs_no_place(desk, monkeypatch):
    desk.change()
    with monkeypatch.context() as broken:
        broken.setattr(webhooks, "lease", lambda *_: (_ for _ in ()).throw(psycopg.OperationalError("away")))
        for _ in range(10):
            with pytest.raises(psycopg.OperationalError):
                desk.look()
    desk.look()
    assert len(desk.receiver.got) == 1


def test_quiet_webhooks_do_not_starve_another(desk, inside):
    for number in range(AT_ONCE + 2):
        manage.add(desk.store, inside, f"quiet{number}", desk.receiver.url, ["customer.erased"], desk.clock())
    for _ in range(6):
        desk.change()
        desk.look(1)
    assert len(desk.receiver.got) >= 2


def test_two_rotations_within_the_overlap_keep_all_secrets_until_it_ends(desk):
    secrets = [desk.secret]
    for _ in range(2):
        desk.clock.now += timedelta(minutes=1)
        secrets.append(manage.rotate(desk.store, desk.workspace, desk.hook, timedelta(hours=1), desk.clock())[1])
    desk.change()
    desk.clock.now -= timedelta(minutes=2)
    desk.look()
    _, headers, body = desk.receiver.got[-1]
    for secret in secrets:
        Verifier(secret).verify(body, headers)
    manage.rotate(desk.store, desk.workspace, desk.hook, timedelta(0), desk.clock())
    assert webhooks.get(desk.store, desk.hook.webhook_id).signs_with(desk.clock()) == [4]


def test_retention_takes_nothing_that_a_webhook_has_before_it_and_positions_go_on(desk, inside):
    desk.receiver.answers.append((500, {}))
    first = desk.change()
    hook = desk.look()
    job = SimpleNamespace(store=desk.store, now=desk.clock() + timedelta(days=1000))
    retention._changes(job, 1)
    desk.look(5)
    assert [event["subject"] for event in desk.receiver.events] == [first, first]
    newest = webhooks.get(desk.store, hook.webhook_id).position
    retention._changes(job, 1)
    assert desk.store.execute("select count(*) from changes").fetchone() == (1,), (
        "the newest stays: the next one is counted from it"
    )
    desk.change()
    desk.look()
    assert desk.receiver.events[-1]["data"]["position"] == newest + 1


def test_the_same_position_after_a_restore_is_another_message():
    change = {"position": 7, "type": "x", "customer_id": None, "at": system_now(), "details": {}}
    assert message.message_id(change, "d") == message.message_id(dict(change), "d")
    assert message.message_id(change, "d") != message.message_id(
        {**change, "at": change["at"] + timedelta(seconds=1)}, "d"
    )


def test_logs_name_the_webhook_and_neither_its_address_nor_a_secret(desk):
    desk.change()
    with structlog.testing.capture_logs() as said:
        desk.look()
    assert [line["webhook"] for line in said] == ["shop"]
    assert "hook?channel" not in repr(said)
    assert desk.secret.removeprefix("whsec_") not in repr(said)


# --- where it may go


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::",
        "2001:db8::1", "fe80::1%eth0",
    ],
)  # fmt: skip
def test_no_address_that_is_not_public_is_called(address):
    def look_up(host, port, **_):
        return [(0, 0, 0, "", ("93.184.216.34", port)), (0, 0, 0, "", (address, port))]

    with pytest.raises(guard.Refused, match="not public"):
        guard.target("https://shop.example.org/x", [], look_up)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:5db8:d822", "64:ff9b::5db8:d822"])
def test_public_addresses_are_called(address):
    found = guard.target("https://shop.example.org/x?y=1", [], lambda h, p, **_: [(0, 0, 0, "", (address, p))])
    assert (found.addresses, found.host, found.port, found.path, found.tls) == (
        (address,),
        "shop.example.org",
        443,
        "/x?y=1",
        True,
    )


def test_the_next_address_is_called_where_the_first_is_dead(receiver):
    where = guard.Target(("127.0.0.9", "127.0.0.1"), receiver.port, "shop.example.org", "/", False)
    assert post(where, b"{}", {}).taken


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.org/", "ftp://shop.example.org/", "file:///etc/passwd", "https://", "https:///x", "//shop.example.org/",
        "shop.example.org", "https://user:pass@shop.example.org/", "https://user@shop.example.org/", "https://shop.example.org/#part",
        "https://shop.example.org:99999/", "https://shop.example.org/a b", "https://shop.example.org/a\r\nX: y", "https://[::1", "https://ex\u00adample.org/商",
        "https://shop.example.org/" + "x" * 3000, "gopher://shop.example.org/", "https://shop.example.org:port/",
    ],
)  # fmt: skip
def test_what_is_no_https_address_is_refused(url):
    with pytest.raises(guard.Refused) as refused:
        guard.target(url, [], lambda h, p, **_: [(0, 0, 0, "", ("93.184.216.34", p))])
    assert "pass@" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://0x7f.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://localhost/",
        "https://127.1/",
        "https://a..b/",
        f"https://{'x' * 64}.example/",
    ],
)
def test_other_spellings_of_this_machine_and_what_the_resolver_chokes_on_are_refused_too(url):
    with pytest.raises((guard.Refused, OSError)):
        guard.target(url, [])


@given(st.text(max_size=60))
def test_any_text_is_refused_or_judged(text):
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        try:
            found = guard.target(url, [], lambda h, p, **_: [(0, 0, 0, "", ("127.0.0.1", p))])
        except guard.Refused:
            continue
        pytest.fail(f"called {found}")


def test_a_name_that_answers_otherwise_the_second_time_is_judged_again_and_called_at_the_address_that_was_judged(
    desk, receiver
):
    answers = deque(["127.0.0.1"])
    where = guard.target(
        f"http://rebound.example.org:{receiver.port}/",
        ["127.0.0.0/8"],
        lambda h, p, **_: [(0, 0, 0, "", (answers.popleft(), p))],
    )
    assert post(where, b"{}", {}).taken, "no second look-up: that name does not exist"
    assert receiver.got[-1][1]["Host"] == f"rebound.example.org:{receiver.port}"
    closed = Workspace(desk.workspace.settings.model_copy(update={"webhook_networks": ""}))
    desk.change()
    Courier(closed, desk.clock).look(desk.store, lambda work, *arguments: work(*arguments))
    assert webhooks.get(desk.store, desk.hook.webhook_id).last_error == "this address is not public"
    assert len(receiver.got) == 1


def test_proxies_of_the_environment_are_not_used(desk, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    desk.change()
    assert desk.look().last_error is None


# --- a line that is slow, silent or false


@contextmanager
def talking(answer):
    """A socket server that does with a connection what it is told."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        try:
            while True:
                connection, _ = server.accept()
                threading.Thread(target=answer, args=[connection], daemon=True).start()
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def drip(connection):
    try:
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
            connection.send(bytes([letter]))
            time.sleep(0.05)
    except OSError:
        connection.close()


@pytest.mark.parametrize(
    ("answer", "tls", "said"),
    [(drip, False, "took too long"), (lambda c: time.sleep(5), False, "took too long"), (lambda c: time.sleep(5), True, "took too long"),
     (lambda c: c.close(), False, "no answer"), (lambda c: (c.send(b"SSH-2.0-x\r\n"), c.close()), False, "no answer"),
     (lambda c: (c.send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000), c.close()), False, "no answer"),
     (lambda c: (c.send(b"no tls"), c.close()), True, "no answer")],
    ids=["drips", "silent", "silent to TLS", "closes", "another protocol", "endless headers", "no TLS"],
)  # fmt: skip
def test_whatever_a_line_does_a_call_has_an_end(answer, tls, said):
    with talking(answer) as port:
        began = time.monotonic()
        found = post(guard.Target(("127.0.0.1",), port, "localhost", "/", tls), b"{}", {}, seconds=0.5)
        assert (found.status, found.taken) == (None, False)
        assert found.reason.startswith(said)
        assert time.monotonic() - began < 4


def test_nobody_listening_is_a_failure_too():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert (
        post(guard.Target(("127.0.0.1",), port, "localhost", "/", False), b"", {}).reason
        == "no answer: ConnectionRefusedError"
    )


def test_a_certificate_is_checked_against_the_name(tmp_path, monkeypatch):
    authority, server = certificate(tmp_path, "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server)
    receiver = Receiver(tls)
    where = guard.target(receiver.url, ["127.0.0.0/8", "::1/128"], lambda h, p, **_: [(0, 0, 0, "", ("127.0.0.1", p))])
    assert post(where, b"{}", {}).reason == "no answer: the certificate is not valid"
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert post(where, b"{}", {}).taken
    other = guard.Target(where.addresses, where.port, "shop.example.org", "/", True)
    assert post(other, b"{}", {}).reason == "no answer: the certificate is not valid"
    receiver.server.shutdown()


def certificate(folder, name):
    """A certificate that stands for itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    text = made.public_bytes(serialization.Encoding.PEM)
    (folder / "authority.pem").write_bytes(text)
    (folder / "server.pem").write_bytes(
        text
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "authority.pem", folder / "server.pem"


# --- as its users type it


def test_the_command_line_adds_lists_rotates_replays_and_removes(workspace):
    secret = cdp(
        workspace, "webhooks", "add", "till", "https://93.184.216.34/x", "--type", "customer.erased"
    ).stdout.split()[-1]
    assert secret.startswith("whsec_")
    assert cdp(workspace, "webhooks", "rotate", "till").stdout.split()[-1] != secret
    listed = cdp(workspace, "webhooks", "list").stdout
    assert "till" in listed
    assert "customer.erased" in listed
    assert "secret" not in listed
    for command in ("dead", "replay", "resume", "remove"):
        cdp(workspace, "webhooks", command, "till")
    assert "till" not in cdp(workspace, "webhooks", "list").stdout
    for wrong, said in (
        (("add", "x", "https://127.0.0.1/"), "CDP_WEBHOOK_NETWORKS"), (("add", "x", "https://93.184.216.34/", "--type", "weather"), "choose from"),
        (("replay", "nobody"), "no webhook is named"), (("add", "a b", "https://93.184.216.34/"), "letters, digits"),
    ):  # fmt: skip
        done = cdp(workspace, "webhooks", *wrong, check=False)
        assert done.returncode != 0
        assert said in done.stderr
