"""Redact landing files in place: a line keeps its order and loses its person, or gives way to a marker. Never removed.

Lines keep their numbers, so that what the lake knows of a line stays true.
"""

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cdp.sources.canonical import kept_columns
from cdp.sources.model import Source
from cdp.sources.read import ERASED, ERASED_JSON, csv_records, open_file

Action = Literal["strip", "remove"]
Actions = Mapping[int, Action]


def rewrite(path: Path, source: Source, actions: Actions) -> None:
    """Write the file anew with these lines redacted, in one step.

    Args:
        path: A landing file.
        source: Whose.
        actions: By line number: `strip` keeps what the order needs, `remove` leaves a marker.
    """
    draft = path.with_name(f".{path.name}.redacted")
    writers = {"jsonl": _jsonl, "csv": _csv}
    if source.format == "parquet":
        _parquet(path, draft, source, actions)
    else:
        with path.open("rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
        # no name and no time in the header: the same lines give the same bytes, and so the same fingerprint
        with draft.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if zipped else raw as out:
            for data in writers[source.format](path, source, actions):
                out.write(data)
    draft.chmod(path.stat().st_mode & 0o777)
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    with path.open("rb+") as old:
        draft.replace(path)
        _overwrite(old)


def _overwrite(old: BinaryIO) -> None:
    """Let no byte of the old content stay in freed blocks, as far as a file system lets us. The new file stands already."""
    left = os.fstat(old.fileno()).st_size
    while left > 0:
        left -= old.write(b"\0" * min(left, 1 << 20))
    old.flush()
    os.fsync(old.fileno())


def _paths(source: Source) -> list[str]:
    return [source.columns[name].path or name for name in sorted(kept_columns(source))]


def _jsonl(path: Path, source: Source, actions: Actions) -> Iterator[bytes]:
    kept = _paths(source)
    with open_file(path) as file:
        for number, line in enumerate(file, 1):
            action = actions.get(number)
            if action is None:
                yield line
                continue
            body = line.strip().removeprefix(b"\xef\xbb\xbf")
            stripped = (
                ERASED_JSON
                if action == "remove"
                else _stripped(body.decode(source.encoding), kept).encode(source.encoding)
            )
            yield stripped + b"\n"


def _stripped(line: str, kept: list[str]) -> str:
    """The JSON object with only these dotted paths."""
    row, made = json.loads(line), dict[str, Any]()
    for path in kept:
        *parents, last = path.split(".")
        value: Any = row
        for part in (*parents, last):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            target = made
            for part in parents:
                target = target.setdefault(part, {})
            target[last] = value
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"))


def _csv(path: Path, source: Source, actions: Actions) -> Iterator[bytes]:
    """Physical lines in order; those of a record that is redacted give way to one line and empty ones."""
    headers: list[str] = []
    records: dict[int, tuple[list[str] | None, int]] = {}
    for number, cells, payload, _ in csv_records(path, source):
        headers = headers or [cell.strip() for cell in cells or []]
        if number in actions:
            records[number] = (cells, payload.count("\n") + 1)
    kept = set(_paths(source))
    skip = 0
    with open_file(path) as file:
        for number, line in enumerate(file, 1):
            if skip:
                skip -= 1
                yield b"\n"
            elif number in records:
                cells, height = records[number]
                skip = height - 1
                remove = actions[number] == "remove" or cells is None
                yield f"{ERASED}\n".encode() if remove else _row(cells or [], headers, kept, source)
            else:
                yield line


def _row(cells: list[str], headers: list[str], kept: set[str], source: Source) -> bytes:
    shown = [" ".join(c.split("\n")) if h in kept else "" for c, h in zip(cells, headers, strict=True)]
    text = io.StringIO()
    csv.writer(text, delimiter=source.delimiter, lineterminator="\n").writerow(shown)
    return text.getvalue().encode(source.encoding)


def _parquet(path: Path, draft: Path, source: Source, actions: Actions) -> None:
    """Row groups one by one; the line of a row is its number from 1."""
    kept = set(_paths(source))
    file = pq.ParquetFile(path)
    schema = pa.schema([field.with_nullable(nullable=True) for field in file.schema_arrow])
    start = 0
    with pq.ParquetWriter(draft, schema) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            numbers = range(start + 1, start + table.num_rows + 1)
            taken = {
                name: pa.array([_gone(actions.get(n), name in kept) for n in numbers]) for name in table.column_names
            }
            columns = [pc.if_else(taken[name], None, table.column(name)) for name in table.column_names]
            writer.write_table(pa.table(columns, schema=schema))
            start += table.num_rows


def _gone(action: Action | None, kept: bool) -> bool:
    return action == "remove" or (action == "strip" and not kept)
