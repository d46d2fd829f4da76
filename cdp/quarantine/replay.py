"""Read rejected lines again, corrected: as a landing file of their source, which takes the way of every other file."""

import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cdp.errors import Invalid
from cdp.lake.engine import Lake
from cdp.quarantine import rows
from cdp.quarantine.rows import Waiting
from cdp.quarantine.rules import Rule
from cdp.sources.ingest import CORRECTED, tried
from cdp.sources.model import Source
from cdp.sources.read import text
from cdp.workspace import write_whole

SUFFIX = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}
MARK = """
    update lake.main.ops__rejected_rows as r set replayed_as = $name from (
        select unnest($files) as file, unnest($shas) as sha256, unnest($lines) as line
    ) as m
    where r.source = $source and r.file = m.file and r.sha256 = m.sha256 and r.line = m.line and r.replayed_as is null
"""


class NothingToCorrect(Invalid):
    """No rejected line is concerned, or none of those can be read well enough to be corrected by column."""


@dataclass(frozen=True)
class Corrected:
    """Lines that were corrected, and the landing file that says so.

    Attributes:
        name: The file's name; the same corrections have the same.
        content: Its bytes.
        lines: The rejected lines it holds, in its order.
        untouched: Rejected lines that no rule changed.
        unreadable: Rejected lines that cannot be read by column: they are corrected by hand, as a whole.
    """

    source: Source
    name: str
    content: bytes
    lines: list[Waiting]
    untouched: int
    unreadable: int


Change = Callable[[Waiting, dict[str, Any]], bool]


def by_rules(source: Source, rules: Iterable[Rule]) -> Change:
    """A change that rules describe."""
    placed = [(rule, *rows.place(source, rule.column)) for rule in rules]

    def change(row: Waiting, values: dict[str, Any]) -> bool:
        touched = False
        for rule, read, write in placed:
            value = read(values)
            if (wanted := rule.corrected(value, row.checks)) != value:
                write(values, wanted)
                touched = True
        return touched

    return change


def correct(
    lake: Lake, landing: Path, source: Source, change: Change, only: tuple[str, int] | None = None
) -> Corrected:
    """What the rejected lines of a source would say, corrected. Writes nothing.

    Raises:
        NothingToCorrect: If no line would change.
    """
    done: list[tuple[Waiting, dict[str, Any]]] = []
    untouched = unreadable = 0
    headers: dict[tuple[str, str], list[str] | None] = {}
    for row in rows.waiting(lake, source, only):
        place = (row.file, row.sha256)
        if place not in headers:
            headers[place] = rows.header(landing, source, row)
        names = headers[place]
        values = None if names is None or rows.CONFLICT in row.checks.get("", ()) else rows.parsed(source, row, names)
        if values is None:
            unreadable += 1
        elif change(row, values):
            done.append((row, values))
        else:
            untouched += 1
    if not done:
        raise NothingToCorrect(
            f"none of {untouched + unreadable:,} rejected lines would change ({unreadable:,} cannot be read by column)",
            "'cdp quarantine list' shows what waits; a line that cannot be read is corrected with --line",
        )
    return written(source, [row for row, _ in done], [values for _, values in done], untouched, unreadable)


def written(source: Source, lines: list[Waiting], values: list[dict[str, Any]], untouched: int = 0, unreadable: int = 0) -> Corrected:  # fmt: skip
    """These lines as a landing file of the source."""
    out = io.BytesIO()
    if source.format == "parquet":
        texts = [{name: text(value) for name, value in row.items()} for row in values]
        columns = {source.columns[name].path or name: pa.array([t.get(name) for t in texts], pa.string()) for name in source.columns}  # fmt: skip
        pq.write_table(pa.table(columns), out)
    elif source.format == "csv":
        sheet = io.StringIO()
        names = list(dict.fromkeys(name for row in values for name in row))
        table = csv.DictWriter(sheet, names, restval="", delimiter=source.delimiter, lineterminator="\n")
        table.writeheader()
        table.writerows(values)
        out.write(_encoded(sheet.getvalue(), source))
    else:
        out.write(_encoded("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in values), source))
    content = out.getvalue()
    name = f"{CORRECTED}{hashlib.sha256(content).hexdigest()[:12]}{SUFFIX[source.format]}"
    return Corrected(source, name, content, lines, untouched, unreadable)


def _encoded(lines: str, source: Source) -> bytes:
    try:
        return lines.encode(source.encoding)
    except UnicodeEncodeError as error:
        raise Invalid(
            f"a correction cannot be written in {source.encoding}", "use characters that the source's files have"
        ) from error


def preview(lake: Lake, corrected: Corrected) -> dict[str, int]:
    """What would become of the corrected lines, by the code that reads them. Writes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / corrected.name
        path.write_bytes(corrected.content)
        found = tried(lake, corrected.source, path)
    return {
        "corrected": len(corrected.lines), "accepted": found.accepted, "duplicates": found.duplicates,
        "rejected again": found.quarantined, "not changed": corrected.untouched, "unreadable by column": corrected.unreadable,
    }  # fmt: skip


def replay(lake: Lake, landing: Path, corrected: Corrected) -> Path:
    """Lay the corrected lines into the landing folder and mark them; the next run reads them.

    File first, mark second: after a crash between the two the same file is written again.
    """
    folder = landing / corrected.source.source
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / corrected.name
    write_whole(path, corrected.content)
    marks = {
        "source": corrected.source.source, "name": corrected.name, "files": [r.file for r in corrected.lines],
        "shas": [r.sha256 for r in corrected.lines], "lines": [r.line for r in corrected.lines],
    }  # fmt: skip
    lake.write(lambda: lake.connection.execute(MARK, marks), f"replay {corrected.source.source}")
    return path
