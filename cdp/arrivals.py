"""When what has arrived is worth a run: in batches, never twice, and not for ever if it fails."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cdp.store.landed import Seen

QUIET = timedelta(seconds=10)  # a file that was written a moment ago may not be whole
PATIENCE = timedelta(minutes=5)  # files that keep coming do not hold back the rest for longer
GATHER = timedelta(minutes=1)  # what is sent one by one is taken together
MANY = 20_000  # events that need not wait to be more
TRIES = 3  # runs over one and the same arrival; after that the nightly run and people go on


@dataclass(frozen=True)
class Arrived:
    """What no run has looked at yet.

    Attributes:
        files: Landing files, as registered.
        events: Rows in the inbox.
        oldest: When the oldest of these was sent.
        last: When the newest of these was sent.
        model: The identity model in use, where the lake was made with another.
        unfinished: The last run that ended well, where a later one failed: it may have read what arrived and made nothing of it.
    """

    files: list[Seen]
    events: int = 0
    oldest: datetime | None = None
    last: datetime | None = None
    model: str = ""
    unfinished: str = ""

    @property
    def key(self) -> str:
        """The name of this arrival: the same files and events have the same."""
        return hashlib.sha256(repr((self.files, self.events, self.last, self.model, self.unfinished)).encode()).hexdigest()[:16]


def why_not(arrived: Arrived, now: datetime, *, running: bool, failed: int) -> str:
    """Why no run is due for it, in words; empty where one is.

    Args:
        arrived: What waits.
        now: The moment.
        running: Whether a run waits or is under way: it takes what is there, and the rest comes after it.
        failed: Runs over exactly this arrival that failed.
    """
    if not (arrived.files or arrived.events or arrived.model or arrived.unfinished):
        return "nothing new"
    if running:
        return "a run is under way; what is new waits for its end"
    if failed >= TRIES:
        return f"{failed} runs over this arrival failed: look at the last one, mend the cause and run 'cdp run'"
    times = [datetime.fromtimestamp(modified / 1e9, now.tzinfo) for *_, modified in arrived.files]
    if times and now - max(times) < QUIET and now - min(times) < PATIENCE:
        return "files are still coming"
    if not times and not arrived.model and arrived.events < MANY and arrived.oldest and now - arrived.oldest < GATHER:
        return f"{arrived.events:,} events wait a minute for more"
    return ""
