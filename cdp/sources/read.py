"""Read landing files in bounded memory: our own line splitting keeps line numbers, cut-off lines and payloads.

A batch holds every contract column as text (or None), so that one contract judges all formats alike.
"""

import contextlib
import csv
import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cdp.errors import UnreadableFile
from cdp.sources.model import Column, ColumnType, Source

ERASED = "_erased"  # what stands in the place of a line that was an erased person's
ERASED_JSON = b'{"_erased":true}'
BATCH_ROWS = 20_000
BATCH_BYTES = 5_000_000
PAYLOAD_CHARACTERS = 20_000
EXACT = 2**53  # floats count every integer up to here
LONG_NUMBER = re.compile(r"\d{16}")
QUOTED_LINES = 100  # a quoted CSV field may span this many lines; further, the quote itself is the damage


@dataclass(frozen=True)
class Rejected:
    """One reason why one line is not accepted."""

    line: int
    column: str | None
    check: str
    reason: str
    payload: str


@dataclass
class Batch:
    """Rows of one file: `lines[i]` is the line number of row i, `columns[name][i]` its text."""

    names: list[str]
    lines: list[int] = field(default_factory=list)
    payloads: list[str] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    size: int = 0
    erased: int = 0

    def __post_init__(self) -> None:
        self.columns = {name: [] for name in self.names}

    def add(self, line: int, payload: str, values: list[Any]) -> None:
        """Add one parsed row."""
        self.lines.append(line)
        self.payloads.append(payload)
        for name, value in zip(self.names, values, strict=True):
            self.columns[name].append(value)
        self.size += len(payload)

    def reject(self, line: int, check: str, reason: str, payload: str) -> None:
        """Add one line that could not be parsed."""
        self.rejected.append(Rejected(line, None, check, reason, payload[:PAYLOAD_CHARACTERS]))
        self.size += len(payload)

    @property
    def full(self) -> bool:
        """Whether the batch should be handed on."""
        return len(self.lines) + len(self.rejected) >= BATCH_ROWS or self.size >= BATCH_BYTES


def fingerprint(path: Path) -> str:
    """SHA-256 of the file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFile(f"cannot be read: {error.strerror}", "mend the file's rights") from error


DAMAGE = (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException, pl.exceptions.PolarsError)


def read_batches(path: Path, source: Source) -> Iterator[Batch]:
    """The rows of one file.

    Raises:
        UnreadableFile: If the file as a whole cannot be read; no row of it may be used then.
    """
    readers = {"jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}
    try:
        yield from readers[source.format](path, source)
    except DAMAGE as error:
        raise UnreadableFile(
            f"cannot be read as {source.format}: {str(error).splitlines()[0][:200]}",
            "send the whole file again",
        ) from error


def open_file(path: Path) -> IO[bytes]:
    """The bytes of a file, unzipped where it is gzip, whatever its name says."""
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def _physical_lines(path: Path, limit: int) -> Iterator[tuple[int, bytes, int]]:
    """(line number, bytes without the line end, bytes left out because the line is over the limit)."""
    with open_file(path) as file:
        number = 0
        while data := file.readline(limit):
            number += 1
            dropped = 0
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            if not data.endswith(b"\n") and len(data) >= limit - 3:
                while rest := file.readline(1 << 20):
                    dropped += len(rest)
                    if rest.endswith(b"\n"):
                        break
            yield number, data.rstrip(b"\r\n"), dropped


def _decode(data: bytes, source: Source) -> str | None:
    try:
        return data.decode(source.encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def text(value: Any) -> str | None:
    """A JSON value as the text that the contract judges; empty and blank are None."""
    if value is None:
        return None
    if isinstance(value, str):
        cleaned = value.replace("\x00", "").strip()
        return cleaned or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))  # 17850.0 is how table files write the id 17850
    if isinstance(value, int | float):
        return str(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _extractor(name: str, column: Column) -> Callable[[dict[str, Any]], Any]:
    parts = (column.path or name).split(".")

    def extract(row: dict[str, Any]) -> Any:
        value: Any = row
        for part in parts:
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        return value

    if column.type is ColumnType.LIST:
        items = {key: _extractor(key, item) for key, item in (column.items or {}).items()}
        return lambda row: _list(extract(row), items)
    if column.type is ColumnType.FLAGS:
        return lambda row: _flags(extract(row))
    return lambda row: text(extract(row))


def _list(value: Any, items: dict[str, Callable[[dict[str, Any]], Any]]) -> Any:
    """A list of text rows; None where absent; the text itself where it is no list of objects (the contract objects)."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return text(value) or "''"
    return [{name: extract(item) for name, extract in items.items()} for item in value]


def _flags(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        return text(value) or "''"
    return [{"name": text(name) or "", "value": text(flag)} for name, flag in value.items()]


def _read_jsonl(path: Path, source: Source) -> Iterator[Batch]:
    names = list(source.columns)
    extractors = [_extractor(name, column) for name, column in source.columns.items()]
    batch = Batch(names)
    for number, data, dropped in _physical_lines(path, source.max_line_bytes):
        if not data.strip():
            continue
        if data == ERASED_JSON:
            batch.erased += 1
            continue
        line = _decode(data, source)
        if dropped:
            reason = (
                f"{len(data) + dropped:,} bytes, over the limit of {source.max_line_bytes:,}; the payload is its start"
            )
            batch.reject(number, "line_length", reason, line or repr(data[:PAYLOAD_CHARACTERS]))
        elif line is None:
            batch.reject(number, "encoding", f"not {source.encoding}", repr(data[:PAYLOAD_CHARACTERS]))
        else:
            try:
                row = orjson.loads(line)
                if LONG_NUMBER.search(line):
                    with contextlib.suppress(RecursionError):  # nested too deep for it: the rounded row stands
                        row = json.loads(line)  # exact where orjson would round to a float
            except orjson.JSONDecodeError as error:
                batch.reject(number, "json", f"not JSON: {error.msg}", line)
            else:
                if isinstance(row, dict):
                    batch.add(number, line, [extract(row) for extract in extractors])
                else:
                    batch.reject(number, "json", "not a JSON object", line)
        if batch.full:
            yield batch
            batch = Batch(names)
    yield batch


def _read_csv(path: Path, source: Source) -> Iterator[Batch]:
    names = list(source.columns)
    csv.field_size_limit(source.max_line_bytes)
    rows = csv_records(path, source)
    _, header, _, _ = next(rows, (0, None, "", ""))
    if header is None:
        raise UnreadableFile("has no header line", "send the file with its header")
    headers = [cell.strip() for cell in header]
    paths = {name: column.path or name for name, column in source.columns.items()}
    missing = [paths[name] for name, column in source.columns.items() if column.required and paths[name] not in headers]
    if missing:
        raise UnreadableFile(
            f"column {', '.join(missing)} is missing: the header is absent or renamed ({len(headers)} columns found)",
            "restore the header, or set the column's 'path' in the source's YAML",
        )
    positions = [headers.index(paths[name]) if paths[name] in headers else None for name in names]
    batch = Batch(names)
    for number, cells, payload, problem in rows:
        if cells is None:
            batch.reject(number, problem, _CSV_REASONS[problem].format(source=source), payload)
        elif cells == [ERASED]:
            batch.erased += 1
        elif len(cells) != len(headers):
            reason = f"{len(cells)} fields, the header has {len(headers)}"
            batch.reject(number, "field_count", reason, payload)
        else:
            batch.add(number, payload, [None if at is None else text(cells[at]) for at in positions])
        if batch.full:
            yield batch
            batch = Batch(names)
    yield batch


_CSV_REASONS = {
    "line_length": "over the limit of {source.max_line_bytes:,} bytes; the payload is its start",
    "encoding": "not {source.encoding}",
    "csv": "not CSV: a quote is never closed, or a line break stands in the middle",
}


def csv_records(path: Path, source: Source) -> Iterator[tuple[int, list[str] | None, str, str]]:
    """(line, cells, payload, problem): records with quoted line breaks are joined, damage ends at its own line."""
    waiting: list[tuple[int, str]] = []  # lines of a record whose quote is still open

    def flush() -> Iterator[tuple[int, list[str] | None, str, str]]:
        first, *others = waiting
        waiting.clear()
        yield first[0], None, first[1], "csv"
        for number, line in others:
            yield from take(number, line)

    def take(number: int, line: str) -> Iterator[tuple[int, list[str] | None, str, str]]:
        if not line.strip() and not waiting:
            return
        waiting.append((number, line))
        whole = "\n".join(part for _, part in waiting)
        try:
            cells = csv_cells(whole, source.delimiter)
        except csv.Error:
            yield from flush()
            return
        if cells is not None:
            start = waiting[0][0]
            waiting.clear()
            yield start, cells, whole, ""
        elif len(waiting) > QUOTED_LINES or len(whole) > source.max_line_bytes:
            yield from flush()

    for number, data, dropped in _physical_lines(path, source.max_line_bytes):
        line = _decode(data, source)
        if dropped or line is None:
            while waiting:
                yield from flush()
            payload = (line or repr(data))[:PAYLOAD_CHARACTERS]
            yield number, None, payload, "line_length" if dropped else "encoding"
        else:
            yield from take(number, line.replace("\x00", ""))
    while waiting:
        yield from flush()


def csv_cells(record: str, delimiter: str) -> list[str] | None:
    """The fields of a record; None while a quoted field is still open at its end.

    The record goes in as one piece: splitting it again would end it at every line break that CSV does not know.

    Raises:
        csv.Error: If it is not one CSV row (a carriage return in the middle).
    """
    try:
        return next(csv.reader([record], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return None
        return next(csv.reader([record], delimiter=delimiter), [])  # a stray quote is text


def _read_parquet(path: Path, source: Source) -> Iterator[Batch]:
    file = pq.ParquetFile(path)
    paths = {name: column.path or name for name, column in source.columns.items()}
    present = set(file.schema_arrow.names)
    missing = [paths[name] for name, column in source.columns.items() if column.required and paths[name] not in present]
    if missing:
        raise UnreadableFile(f"column {', '.join(missing)} is missing", "set the column's 'path' in the source's YAML")
    wanted = [paths[name] for name in source.columns if paths[name] in present]
    start = 0
    for part in file.iter_batches(BATCH_ROWS, columns=wanted):
        frame = pl.DataFrame(part)
        batch = Batch(list(source.columns))
        rows = frame.rows(named=True)
        extractors = [
            _extractor(name, column.model_copy(update={"path": name})) for name, column in source.columns.items()
        ]
        names = {name: paths[name] for name in source.columns if paths[name] in present}
        for offset, row in enumerate(rows, 1):
            flat = {name: _plain(row[path], source.columns[name].timezone) for name, path in names.items()}
            if all(value is None for value in flat.values()):
                batch.erased += 1
                continue
            batch.add(
                start + offset,
                orjson.dumps(flat, default=str).decode(),
                [extract(flat) for extract in extractors],
            )
        start += len(rows)
        yield batch


def _plain(value: Any, timezone: str) -> Any:
    """A typed Parquet value as JSON has it: times in RFC 3339 (naive ones in the column's zone), decimals as text."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=ZoneInfo(timezone))).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value if isinstance(value, str | int | float | bool | list | dict) or value is None else str(value)
