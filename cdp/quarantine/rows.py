"""What waits in the quarantine."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cdp.errors import UnreadableFile
from cdp.lake.build import is_empty
from cdp.lake.engine import Lake
from cdp.sources.draft import headers_of
from cdp.sources.model import Source
from cdp.sources.read import csv_cells, fingerprint

MONTH = timedelta(days=30)  # after it a warning is no news
WHOLE = "file_blocked"  # a file that was left out as a whole: it is mended as a whole
CONFLICT = "key_conflict"
WAITING = (
    f"replayed_as is null and \"check\" <> '{WHOLE}' and payload <> '' "
    "and (source, file, sha256) not in (select (source, file, sha256) from ops__files where status = 'blocked')"
)
REASONS = f"""
    select source, "column", "check", count(distinct (file, sha256, line)) filter (where {WAITING}) as waiting,
        count(distinct (file, sha256, line)) filter (where replayed_as is not null) as replayed,
        count(distinct (file, sha256, line)) filter (where "check" = '{WHOLE}') as files_left_out, min(reason) as example
    from ops__rejected_rows group by all order by waiting desc, replayed desc, source, "column", "check"
"""

SHARES = f"""
    with waits as (
        select source, file, sha256, count(distinct line) as waiting, max(rejected_at) as at_time from ops__rejected_rows
        where {WAITING} group by all
    )
    select w.source, w.file, max(w.waiting / r.lines), max(w.at_time) from waits w join ops__reconciliation r using (source, file, sha256)
    where r.lines > 0 group by all order by all
"""


@dataclass
class Waiting:
    """One rejected line.

    Attributes:
        checks: Column ('' for the line as a whole) → checks that rejected it.
        payload: The line as it came.
    """

    source: str
    file: str
    sha256: str
    line: int
    payload: str
    checks: dict[str, set[str]] = field(default_factory=dict)


def reasons(lake: Lake) -> list[dict[str, Any]]:
    """Counts by source, column and check: lines that wait, lines that were read again, files left out."""
    return [] if is_empty(lake, "ops__rejected_rows") else lake.records(REASONS)


def over_limit(lake: Lake, source: Source, now: datetime) -> list[str]:
    """Files of the last month of which a larger share waits than the source's warning limit, whichever run read them."""
    shares = [] if is_empty(lake, "ops__rejected_rows") else lake.remembered(SHARES)
    limit, since = source.limits.warn, now - MONTH
    return [file for name, file, share, at in shares if name == source.source and share > limit and at > since]


def waiting(lake: Lake, source: Source, only: tuple[str, int] | None = None) -> list[Waiting]:
    """The lines of a source that wait; of one (file, line) where it is named."""
    query = (
        'select file, sha256, line, "column", "check", payload from ops__rejected_rows '
        f"where source = $source and {WAITING} and ($file is null or (file = $file and line = $line)) order by all"
    )
    named = {"source": source.source, "file": only[0] if only else None, "line": only[1] if only else None}
    found: dict[tuple[str, str, int], Waiting] = {}
    for file, sha, line, column, check, payload in lake.rows(query, named):
        row = found.setdefault((file, sha, line), Waiting(source.source, file, sha, line, payload))
        row.checks.setdefault(column or "", set()).add(check)
    return list(found.values())


def header(landing: Path, source: Source, row: Waiting) -> list[str] | None:
    """The header of the table file that the line came in; None where the file is gone or another one now."""
    path = landing / source.source / row.file
    if source.format != "csv":
        return []
    try:
        same = fingerprint(path) == row.sha256
    except UnreadableFile:
        return None
    return headers_of(path, "csv", source.encoding, delimiter=source.delimiter)[0] if same else None


def parsed(source: Source, row: Waiting, names: list[str]) -> dict[str, Any] | None:
    """The line as header → text, or as its JSON object; None where it cannot be read as one."""
    if source.format == "csv":
        cells = csv_cells(row.payload, source.delimiter)
        return dict(zip(names, cells, strict=True)) if cells is not None and len(cells) == len(names) else None
    try:
        found = json.loads(row.payload)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def place(source: Source, column: str) -> tuple[Callable[[dict[str, Any]], str | None], Callable[[dict[str, Any], str | None], None]]:  # fmt: skip
    """How a contract column is read from, and written to, a parsed line."""
    named = source.columns[column].path or column
    steps = named.split(".") if source.format == "jsonl" else [column if source.format == "parquet" else named]

    def read(row: dict[str, Any]) -> str | None:
        value: Any = row
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return None if value is None or isinstance(value, dict | list) else str(value)

    def write(row: dict[str, Any], value: str | None) -> None:
        at = row
        for step in steps[:-1]:
            inner = at.get(step)
            at[step] = at = inner if isinstance(inner, dict) else {}
        at[steps[-1]] = value

    return read, write
