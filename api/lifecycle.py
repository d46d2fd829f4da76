"""How an endpoint ends: it says so for a while before it goes."""

from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from fastapi import Depends, Response


def deprecated(since: datetime, sunset: datetime, successor: str) -> dict[str, Any]:
    """What a router says of an endpoint that will go: `@router.get("/old", **deprecated(…))`.

    Args:
        since: From when on nobody should begin to use it (RFC 9745), in UTC.
        sunset: When it stops to answer (RFC 8594), in UTC.
        successor: Path of what takes its place.
    """
    return {"deprecated": True, "dependencies": [Depends(_told(since, sunset, successor))]}


def _told(since: datetime, sunset: datetime, successor: str) -> Callable[[Response], None]:
    def tell(response: Response) -> None:
        response.headers["Deprecation"] = f"@{int(since.timestamp())}"
        response.headers["Sunset"] = format_datetime(sunset, usegmt=True)
        response.headers["Link"] = f'<{successor}>; rel="successor-version"'

    return tell
