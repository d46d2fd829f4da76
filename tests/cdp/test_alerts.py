"""Alerts: told once, again while it lasts, and when it is over; by webhook, e-mail and log."""

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.alerts.rules import AlertRule, Alerts, Message, Open, Wrong, due, load_alerts
from cdp.alerts.send import send, told
from cdp.errors import ConfigError
from cdp.settings import Settings
from cdp.store import alerts as kept
from tests.conftest import NOW

T0 = datetime(2026, 3, 1, tzinfo=UTC)
REPEAT = timedelta(hours=24)


def wrong(subject, at=T0):
    return Wrong("failed checks", subject, "What to do: look.", at)


@given(st.lists(st.frozensets(st.sampled_from("abc")), max_size=30))
def test_each_thing_that_is_wrong_is_told_once_and_its_end_once(story):
    """Whatever comes and goes, looked at every hour: never twice within the time, never forgotten, never over before it began."""
    open_, now, log = {}, T0, []
    for bad in story:
        for message in due([wrong(s) for s in sorted(bad)], open_.values(), now, REPEAT):
            log.append((message.subject, message.kind, now))
            if message.kind == "over":
                del open_[message.subject]
            else:
                open_[message.subject] = Open(message.rule, message.subject, message.text, now)
        assert set(open_) == set(bad)
        now += timedelta(hours=1)
    for subject in "abc":
        mine = [(kind, at) for name, kind, at in log if name == subject]
        for (kind, at), (following, later) in pairwise(mine):
            assert (kind == "over") == (following == "new")
            assert following != "still" or later - at >= REPEAT


def test_the_same_thing_said_twice_in_one_look_is_one_message():
    assert len(due([wrong("a"), wrong("a")], [], T0, REPEAT)) == 1


@pytest.mark.parametrize(
    ("limits", "value", "breaks"),
    [({"above": 5}, 5, False), ({"above": 5}, 5.1, True), ({"below": 2}, 1, True), ({"below": 2, "above": 5}, 3, False), ({"above": 0}, None, False)],
)  # fmt: skip
def test_a_figure_breaks_its_rule_beyond_the_limit_only(limits, value, breaks):
    assert AlertRule(name="x", when="select 1", **limits).breaks(value) == breaks


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{name: x, when: sometimes}", "select"),
        ("{name: x, when: 'select 1'}", "above"),
        ("{name: x, when: 'select 1; drop table y', above: 1}", "one select"),
        ("{name: x, when: 'delete from y', above: 1}", "one select"),
        ("{nam: x, when: run_failed}", "nam"),
        ("{name: x, when: late}", "hours"),
        ("{name: x, when: run_failed, hours: 3}", "hours"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_by_line(workspace, line, says):
    path = workspace.path("alerts.yaml")
    before = path.read_text()
    path.write_text(f'version: "1"\nrules:\n  - {line}\n')
    with pytest.raises(ConfigError, match=says):
        load_alerts(workspace)
    path.write_text(before)
    assert {rule.when for rule in load_alerts(workspace).rules} >= {"run_failed", "check_failed", "late"}


MESSAGE = Message("failed checks", "raw_pos.contract", "What to do: look. 看一看", "new", T0)


def test_a_message_goes_to_webhook_mailbox_and_log(hook, mailbox):
    settings = Settings(
        alert_webhook=f"http://127.0.0.1:{hook.server_port}/x", smtp_url=f"smtp://127.0.0.1:{mailbox.server_address[1]}"
    )
    alerts, log = Alerts(version="1", to={"email": ["ops@example.org"]}), []
    assert send([MESSAGE], alerts, settings, log.append) == ({}, ["webhook", "e-mail"])
    assert hook.got == [{"text": told(MESSAGE)}]
    assert any("Subject: CDP: Wrong: failed checks" in line for line in mailbox.got)
    assert log == [told(MESSAGE)]


def test_a_way_that_is_closed_is_named_without_its_address_and_stops_no_other(hook):
    hook.answers = 500
    secret = f"http://127.0.0.1:{hook.server_port}/T0K3N"
    failed, sent = send([MESSAGE], Alerts(version="1", to={"email": ["a@example.org"]}), Settings(alert_webhook=secret, smtp_url="smtp://127.0.0.1:1"), print)  # fmt: skip
    assert (failed, sent) == ({"webhook": "HTTPError", "e-mail": "ConnectionRefusedError"}, [])
    assert "T0K3N" not in repr(failed)


@pytest.mark.parametrize("greeting", [b"250 yes\r\n", b"250-here\r\n250 STARTTLS\r\n"])
def test_a_password_never_goes_in_clear(mailbox, greeting, tmp_path):
    """A server that offers no encryption, or only says itself who it is, gets neither password nor message."""
    pem = tmp_path / "server.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run([*made, "-keyout", str(pem), "-out", str(tmp_path / "certificate")], check=True, capture_output=True)
    mailbox.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    mailbox.context.load_cert_chain(tmp_path / "certificate", pem)
    mailbox.greeting = greeting
    settings = Settings(smtp_url=f"smtp://us:s3cret@127.0.0.1:{mailbox.server_address[1]}")
    failed, sent = send([MESSAGE], Alerts(version="1", to={"email": ["ops@example.org"]}), settings, print)
    assert sent == []
    assert list(failed) == ["e-mail"]
    assert mailbox.got == []
    assert mailbox.words <= {b"EHLO", b"STAR", b"QUIT", b"RSET"}


def test_what_was_told_is_kept_with_its_delay(platform):
    message = Message("r", "s", "text", "new", NOW)
    kept.keep(platform.store, [message], NOW + timedelta(seconds=30))
    assert [(alert.rule, alert.subject) for alert in kept.still_open(platform.store)] == [("r", "s")]
    kept.keep(platform.store, [Message("r", "s", "text", "still", NOW)], NOW + REPEAT)
    assert kept.delays(platform.store, NOW + REPEAT) == (1, 30.0, 30.0)
    assert kept.delays(platform.store, NOW + timedelta(days=31)) == (0, None, None), "of the last 30 days, not of the last that had any"
    kept.keep(platform.store, [Message("r", "s", "text", "over", NOW)], NOW + 2 * REPEAT)
    assert kept.still_open(platform.store) == []
    kept.keep(platform.store, [message], NOW + 3 * REPEAT)
    assert len(kept.still_open(platform.store)) == 1
    kept.note(platform.store, {"a": 1.5, "b": None}, NOW)
    assert kept.noted(platform.store) == {"a": (1.5, NOW), "b": (None, NOW)}


def test_what_one_way_missed_is_kept_for_it_for_a_day(platform):
    message = Message("missed", "s", "text", "new", NOW)
    kept.keep(platform.store, [message], NOW, ["e-mail"])
    [(number, found)] = kept.unsent(platform.store, "e-mail", NOW + timedelta(hours=23))
    assert found == message
    assert kept.unsent(platform.store, "webhook", NOW) == []
    assert kept.unsent(platform.store, "e-mail", NOW + timedelta(days=2)) != [], "it is wrong still"
    kept.keep(platform.store, [Message("missed", "s", "text", "over", NOW)], NOW, ["e-mail"])
    assert [m.kind for _, m in kept.unsent(platform.store, "e-mail", NOW)] == ["over"]  # the last word counts
    assert kept.unsent(platform.store, "e-mail", NOW + timedelta(days=2)) == []
    kept.sent(platform.store, "e-mail", [number])
    assert kept.unsent(platform.store, "e-mail", NOW) == []


def test_the_figure_of_a_rule_that_cannot_be_asked_stays_as_it_was(platform):
    kept.note(platform.store, {"a": 5.0, "b": 1.0}, NOW)
    kept.note(platform.store, {"b": 2.0}, NOW + REPEAT, ["a"])
    assert kept.noted(platform.store) == {"a": (5.0, NOW), "b": (2.0, NOW + REPEAT)}
    kept.note(platform.store, {"b": 2.0}, NOW + REPEAT)  # the rule is gone
    assert set(kept.noted(platform.store)) == {"b"}
