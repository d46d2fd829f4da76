"""Keys that were asked for a moment ago, so that not every call reads its own from the store."""

import threading
import time
from collections.abc import Callable

import psycopg

from cdp.store import keys
from cdp.store.keys import Kept

SECONDS = 1.0  # so long a key that was revoked or changed may still be taken for what it was


class KeyRing:
    """Stored keys by prefix. What is not known is never remembered: a new key works at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._held: dict[str, tuple[float, Kept]] = {}

    def look(self, text: str) -> Kept | None:
        """The stored key of a text, if it was read within the last moment."""
        read, found = self._held.get(keys.prefix(text) or "", (0.0, None))
        return found if found is not None and self._clock() - read < SECONDS else None

    def read(self, store: psycopg.Connection, text: str) -> Kept | None:
        """The stored key of a text, as the store has it now."""
        began, found, prefix = self._clock(), keys.kept(store, text), keys.prefix(text)
        with self._lock:
            if found is None:
                self._held.pop(prefix or "", None)
            elif prefix is not None:
                self._held[prefix] = began, found
        return found
