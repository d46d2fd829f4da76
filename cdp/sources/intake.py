"""Events as the Segment family of client libraries sends them: read within limits, named, their clock corrected. Pure."""

import hashlib
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cdp.errors import CdpError

MOST_EVENT, MOST_BATCH = 32_000, 500_000  # bytes, as Segment's own limits are
KINDS = ("identify", "track", "page", "screen", "alias", "group")


class BadBody(CdpError):
    """What was sent is not what this endpoint takes."""

    status_code = 400
    title = "Invalid body"


class TooLarge(CdpError):
    """An event or a batch is above the limit."""

    status_code = 413
    title = "Too large"


def decode(raw: bytes, encoding: str) -> dict[str, Any]:
    """The JSON object in a body, unpacked within the limit: a bomb stops there.

    Args:
        raw: The body.
        encoding: Its `Content-Encoding`.

    Raises:
        BadBody: If it is cut off, not UTF-8, not JSON, no object, or names a key twice.
        TooLarge: If it is above the limit.
    """
    if encoding == "gzip":
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            raw = unpacker.decompress(raw, MOST_BATCH + 1)
        except zlib.error as error:
            raise BadBody("the body is no gzip", "send it as Content-Encoding says") from error
        if len(raw) <= MOST_BATCH and not unpacker.eof:
            raise BadBody("the gzip is cut off", "send it again")
    elif encoding not in ("", "identity"):
        raise BadBody("this Content-Encoding is not known", "send gzip, or none")
    if len(raw) > MOST_BATCH:
        raise TooLarge(f"a batch has at most {MOST_BATCH:,} bytes", "send fewer events at a time")
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise BadBody("the body is not UTF-8") from error
    except RecursionError as error:
        raise BadBody("the body is nested too deeply") from error
    except ValueError as error:
        raise BadBody("the body is not JSON" if "twice" not in str(error) else str(error)) from error
    if not isinstance(found, dict):
        raise BadBody("the body is no JSON object")
    return found


def events(kind: str, body: dict[str, Any], now: datetime) -> list[tuple[str, str]]:
    """(message id, text) of each event in a body, ready for the inbox.

    Args:
        kind: `batch`, or the type of the one event.
        body: What was sent.
        now: When it came.

    Raises:
        BadBody: If it holds no events, or something that is none.
        TooLarge: If one is above the limit.
    """
    if kind == "batch":
        sent = body.get("batch")
        if not isinstance(sent, list) or not all(isinstance(event, dict) for event in sent):
            raise BadBody("'batch' is no list of events")
        shared = body.get("context")
        made = [{**event, "context": {**shared, **event["context"]} if isinstance(event.get("context"), dict) else shared} if isinstance(shared, dict) else event for event in sent]  # fmt: skip
    else:
        made = [{**body, "type": kind}]
    skew = _skew(body.get("sentAt"), now)
    return [_event({name: value for name, value in event.items() if name != "writeKey"}, skew, now) for event in made]


def _event(event: dict[str, Any], skew: timedelta, now: datetime) -> tuple[str, str]:
    name = event.get("messageId")
    if not isinstance(name, str) or not name or "\x00" in name or len(name) > 200:
        # what has no id of its own is known by what it says: a repeat of the same request adds nothing
        text = json.dumps(event, sort_keys=True, ensure_ascii=True)
        name = f"made-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    said = _moment(event.get("timestamp") or event.get("originalTimestamp"))
    at = min(said + skew, now + timedelta(days=1)) if said is not None else None
    more: dict[str, Any] = {"messageId": name, "receivedAt": _iso(now)}
    if at is not None:
        more |= {"timestamp": _iso(at), "originalTimestamp": event.get("timestamp") or event.get("originalTimestamp")}
    elif "timestamp" not in event:
        more["timestamp"] = _iso(now)
    text = json.dumps({**event, **more}, ensure_ascii=True, separators=(",", ":"))
    if len(text) > MOST_EVENT:
        raise TooLarge(f"an event has at most {MOST_EVENT:,} bytes", "leave out what nobody reads")
    return name, text


def _skew(sent: Any, now: datetime) -> timedelta:
    """How far the sender's clock is behind ours, by when it says it sent: its times are moved by that."""
    at = _moment(sent)
    return now - at if at is not None else timedelta(0)


def _moment(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(_: str) -> Callable[[], None]:
    raise ValueError("no JSON number")
