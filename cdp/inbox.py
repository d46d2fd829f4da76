"""From the inbox to landing files: what channels sent takes the way of files, with their contracts, quarantine and reconciliation."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from cdp.sources.model import Source
from cdp.store import inbox
from cdp.workspace import write_whole

LINES = 20_000  # in one file
KEPT = timedelta(days=90)  # how long a repeat is known after it was handed over


def takes_events(source: Source) -> bool:
    """Whether a source's files are events known by their message id."""
    return source.format == "jsonl" and source.key == ("message_id",)


def drain(
    store: psycopg.Connection,
    landing: Path,
    sources: Iterable[Source],
    now: datetime,
    log: Callable[[str], None] = lambda text: None,
) -> int:
    """Write what waits into `landing/<source>/inbox-<first>-<last>.jsonl`; returns how many events.

    A crash between file and mark writes the same file again, whose lines are known by their keys.
    """
    written = 0
    for source in sources:
        while takes_events(source) and (rows := inbox.waiting(store, source.source, LINES)):
            folder = landing / source.source
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(
                folder / f"inbox-{rows[0][0]:012d}-{rows[-1][0]:012d}.jsonl", "".join(f"{text}\n" for _, text in rows)
            )
            with store.transaction():
                inbox.handed_over(store, [name for name, _ in rows])
            written += len(rows)
    with store.transaction():
        inbox.forget(store, now - KEPT)
    if written:
        log(f"{written:,} events from the inbox")
    return written
