"""How alerts leave: a log line, a Slack-compatible webhook, an e-mail. One that cannot be sent stops no other."""

import http.client
import json
import smtplib
import ssl
import urllib.request
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from cdp.alerts.rules import Alerts, Message
from cdp.settings import Settings

TIMEOUT = 10
WORDS = {"new": "Wrong", "still": "Still wrong", "over": "Well again"}
SENDER = "cdp@localhost"


def told(message: Message) -> str:
    """The message in one line."""
    return f"{WORDS[message.kind]}: {message.rule}: {message.subject}. {message.text}".strip()


def send(
    messages: Sequence[Message], alerts: Alerts, settings: Settings, log: Callable[[str], None]
) -> tuple[dict[str, str], list[str]]:
    """Send by every way that is set up.

    Returns:
        (Why, by way by which they could not be sent, without addresses or passwords; the ways by which they could).
    """
    failed: dict[str, str] = {}
    sent: list[str] = []
    if alerts.to.log:
        for message in messages:
            log(told(message))
    for name in ways(alerts, settings):
        if (why := send_by(name, messages, alerts, settings)) is None:
            sent.append(name)
        else:
            failed[name] = why
    return failed, sent


def ways(alerts: Alerts, settings: Settings) -> list[str]:
    """The ways that are set up, beside the log."""
    return [
        *(["webhook"] if alerts.to.webhook and settings.alert_webhook is not None else []),
        *(["e-mail"] if alerts.to.email and settings.smtp_url is not None else []),
    ]


def send_by(way: str, messages: Sequence[Message], alerts: Alerts, settings: Settings) -> str | None:
    """Send by one way; why it failed, without addresses or passwords, None where it did not."""
    try:
        if way == "webhook":
            _webhook(messages, settings)
        else:
            _email(messages, alerts.to.email, settings)
    except (OSError, smtplib.SMTPException, http.client.HTTPException, ValueError) as error:
        return type(error).__name__
    return None


def _webhook(messages: Sequence[Message], settings: Settings) -> None:
    url = settings.alert_webhook.get_secret_value() if settings.alert_webhook else ""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("no address of the web")
    body = json.dumps({"text": "\n".join(map(told, messages))}, ensure_ascii=False).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
    with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310 - the operator's own address
        pass


def _email(messages: Sequence[Message], to: Sequence[str], settings: Settings) -> None:
    url = urlsplit(settings.smtp_url.get_secret_value() if settings.smtp_url else "")
    mail = EmailMessage()
    mail["Subject"] = f"CDP: {told(messages[0])[:120]}" + (
        f" and {len(messages) - 1} more" if len(messages) > 1 else ""
    )
    mail["From"], mail["To"] = (
        (unquote(url.username) if url.username and "@" in unquote(url.username) else SENDER),
        ", ".join(to),
    )
    mail.set_content("\n\n".join(map(told, messages)) + "\n")
    host, port = url.hostname or "localhost", url.port or 0
    secure = (
        smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
        if url.scheme == "smtps"
        else None
    )
    with secure or smtplib.SMTP(host, port, timeout=TIMEOUT) as server:
        server.ehlo()
        if url.scheme == "smtp" and (server.has_extn("starttls") or url.password):
            server.starttls(context=ssl.create_default_context())  # a password never goes in clear
            server.ehlo()
        if url.username and url.password:
            server.login(unquote(url.username), unquote(url.password))
        server.send_message(mail)
