"""The lines of one household as they are told, and the ids and times they carry."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

DAYS = 365


@dataclass
class Line:
    """One line of one channel. `records` are the contact records it names, with the person each belongs to
    (None: in nobody's truth); `links` are anonymous records that this line ties to a person."""

    channel: str
    at: datetime
    body: Any
    records: list[tuple[str, str | None]]
    links: tuple[str, ...] = ()


@dataclass
class Story:
    """Collects the lines of one household.

    Args:
        rng: The household's own randomness.
        until: End of the period.
        number: The household's number, used to make ids.
    """

    rng: random.Random
    until: datetime
    number: int
    seed: str
    lines: list[Line] = field(default_factory=list)
    serial: int = 0

    def moment(self, earliest: float = 0.0) -> datetime:
        """A time in the period, in shop hours, at or after this share of it."""
        day = int((earliest + (1 - earliest) * self.rng.random()) * (DAYS - 1))
        seconds = self.rng.randrange(9 * 3600, 17 * 3600)
        return (
            self.until - timedelta(days=DAYS - day) + timedelta(seconds=seconds, milliseconds=self.rng.randrange(1000))
        )

    def name(self, prefix: str) -> str:
        """A new id of an order or ticket."""
        self.serial += 1
        return f"{prefix}{self.number}{self.serial:03d}"

    def event(self, channel: str, at: datetime, kind: str, anonymous: str, **parts: Any) -> dict[str, Any]:
        """A Segment event."""
        self.serial += 1
        context: dict[str, Any] = {"ip": f"10.{self.rng.randrange(256)}.{self.rng.randrange(256)}.{self.rng.randrange(256)}",
                                   "locale": parts.pop("locale", "en-GB")}  # fmt: skip
        if channel == "app":
            context |= {
                "library": {"name": "analytics-ios", "version": "2.4.0"},
                "device": {"id": anonymous, "type": "ios"},
            }
        else:
            context |= {
                "library": {"name": "analytics.js", "version": "2.4.0"},
                "page": {"path": "/", "referrer": ""},
            }
        context |= parts.pop("context", {})
        body: dict[str, Any] = {
            "messageId": f"m-{self.number:07d}-{self.serial:04d}",
            "type": kind,
            "anonymousId": anonymous,
        }
        return body | parts | {"context": context, "timestamp": rfc3339(at)}


def rfc3339(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return at.isoformat(timespec="milliseconds")[:23] + "Z"
