"""From the inbox to landing files: what channels sent takes the way of files, with their contracts, quarantine and reconciliation."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import psycopg

from cdp.sources.ingest import SENT
from cdp.sources.model import Column, Source
from cdp.store import inbox
from cdp.workspace import write_whole

LINES = 20_000  # in one file
KEPT = timedelta(days=90)  # how long a repeat is known after it was handed over
SALE = {"transaction_id", "line_no", "sold_at", "sku", "quantity", "unit_price", "currency"}


def takes(source: Source) -> Literal["events", "sales", "tickets", "edits"] | None:
    """What comes to a source through the inbox; None where it only reads files. Edits come from the console, not from channels."""
    if source.format == "jsonl" and source.key == ("message_id",):
        return "events"
    if source.format == "jsonl" and source.key == ("edit_id",):
        return "edits"
    if source.format == "jsonl" and source.key == ("ticket_id",) and source.version == "updated_at":
        return "tickets"
    return "sales" if source.format == "csv" and set(source.columns) >= SALE else None


def as_file(source: Source, texts: Sequence[str]) -> str:
    """What was sent, as a landing file of the source holds it."""
    if source.format != "csv":
        return "".join(f"{text}\n" for text in texts)
    out = io.StringIO()
    rows = csv.writer(out, delimiter=source.delimiter, lineterminator="\n")
    rows.writerow(column.path or name for name, column in source.columns.items())
    for text in texts:
        said = json.loads(text)
        rows.writerow(_cell(said.get(name), column) for name, column in source.columns.items())
    return out.getvalue()


def _cell(value: Any, column: Column) -> str:
    """A value as the contract declares it: a time that says its offset goes into the format and zone of the file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if column.format and isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return value  # the contract says what is wrong with it
        return (
            (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(ZoneInfo(column.timezone)).strftime(column.format)
        )
    return str(value)


def drain(
    store: psycopg.Connection,
    landing: Path,
    sources: Iterable[Source],
    now: datetime,
    log: Callable[[str], None] = lambda text: None,
) -> int:
    """Write what waits into `landing/<source>/inbox-<first>-<last>`; returns how many rows.

    A crash between file and mark writes the same file again, whose lines are known by their keys.
    """
    written = 0
    for source in sources:
        while takes(source) and (rows := inbox.waiting(store, source.source, LINES)):
            folder = landing / source.source
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{SENT}{rows[0][0]:012d}-{rows[-1][0]:012d}.{source.format}"
            write_whole(folder / name, as_file(source, [text for _, text in rows]), source.encoding)
            with store.transaction():
                inbox.handed_over(store, [number for number, _ in rows])
            written += len(rows)
    with store.transaction():
        inbox.forget(store, now - KEPT)
    if written:
        log(f"{written:,} rows from the inbox")
    return written
