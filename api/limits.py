"""How often a key may call: so many calls in a window, counted in this process."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cdp.errors import CdpError

WINDOW = 60  # seconds
MOST_KEYS = 10_000  # windows kept; those that have ended go first


class TooMany(CdpError):
    """More calls than the key may make."""

    status_code = 429
    title = "Too many requests"


@dataclass
class Left:
    """What a key has left of its window.

    Attributes:
        quota: Calls in a window.
        remaining: Calls still free.
        seconds: Until the window ends and all of them are free again.
    """

    quota: int
    remaining: int
    seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """As in the IETF draft on RateLimit header fields."""
        return {
            "RateLimit-Policy": f'"key";q={self.quota};w={WINDOW}',
            "RateLimit": f'"key";r={max(0, self.remaining)};t={self.seconds}',
        }


class Limiter:
    """Counts the calls of each key in fixed windows, each of which begins with its first call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, key_id: str, quota: int) -> Left:
        """Count one call; `remaining` below nothing where it is one too many."""
        now = self._clock()
        with self._lock:
            began, used = self._windows.get(key_id, (now, 0))
            if now - began >= WINDOW:
                began, used = now, 0
            if key_id not in self._windows and len(self._windows) >= MOST_KEYS:
                self._windows = {k: w for k, w in self._windows.items() if now - w[0] < WINDOW}
            self._windows[key_id] = began, used + 1
        return Left(quota, quota - used - 1, max(1, math.ceil(began + WINDOW - now)))
