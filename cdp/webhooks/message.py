"""What a webhook carries: a thin CloudEvent, signed as Standard Webhooks says."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

MEDIA_TYPE = "application/cloudevents+json"
MOST = 20_000  # bytes of a payload, as Standard Webhooks advises


def event(change: Mapping[str, Any], deployment: str) -> bytes:
    """A change as a CloudEvent (1.0, structured JSON): what happened to whom; what is so now is asked of the API.

    Args:
        change: `position`, `type`, `customer_id`, `at`, `details` of the change feed.
        deployment: Names this deployment, so that ids of two never meet.
    """
    whom = {"subject": change["customer_id"]} if change["customer_id"] else {}
    said = {
        "specversion": "1.0",
        "id": message_id(change, deployment),
        "source": f"urn:omnichannel-cdp:{deployment}",
        "type": change["type"],
        **whom,
        "time": change["at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {"customer_id": change["customer_id"], "position": change["position"], "details": change["details"]},
    }
    whole = orjson.dumps(said)
    return whole if len(whole) < MOST else orjson.dumps({**said, "data": {**said["data"], "details": {"cut": True}}})


def message_id(change: Mapping[str, Any], deployment: str) -> str:
    """The same for every attempt and replay of a change: receivers drop what they have seen.

    Its moment is part of it: after a backup is restored, positions are given a second time.
    """
    return f"{deployment}-{change['position']}-{int(change['at'].timestamp() * 1_000_000):x}"


def secret(pepper: str, webhook_id: str, generation: int) -> str:
    """The secret that a webhook signs with, `whsec_` and 32 bytes in base64. It is derived: the store holds none."""
    made = hmac.new(pepper.encode(), f"webhook|{webhook_id}|{generation}".encode(), hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(made).decode()}"


def headers(message: str, body: bytes, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """What goes with a body: its id, the moment of this attempt, a signature by each secret that holds now."""
    moment = str(int(now.timestamp()))
    return {
        "content-type": f"{MEDIA_TYPE}; charset=utf-8",
        "user-agent": "omnichannel-cdp",
        "webhook-id": message,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(_signed(one, f"{message}.{moment}.".encode() + body) for one in secrets),
    }


def _signed(secret_text: str, what: bytes) -> str:
    key = base64.b64decode(secret_text.removeprefix("whsec_"))
    return f"v1,{base64.b64encode(hmac.new(key, what, hashlib.sha256).digest()).decode()}"
