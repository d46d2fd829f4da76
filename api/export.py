"""Members of an audience as a stream: NDJSON, CSV or Parquet, a page at a time, whatever their number."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import orjson

Format = Literal["ndjson", "csv", "parquet"]
MEDIA_TYPES = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
Page = Sequence[dict[str, Any]]
GROUP = 20_000  # rows of a Parquet row group


def written(pages: Iterable[Page], fields: Sequence[str], form: Format) -> Iterator[bytes]:
    """The file, in pieces.

    Args:
        pages: Of members: `customer_id`, `contact_points`, `fields`.
        fields: Which fields of a profile there may be; each is a column, empty where it may not be seen.
        form: As what it is written.
    """
    if form == "ndjson":
        return (b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in page) for page in pages if page)
    return _csv(pages, fields) if form == "csv" else _parquet(pages, fields)


def _csv(pages: Iterable[Page], fields: Sequence[str]) -> Iterator[bytes]:
    yield _lines([["customer_id", "contact_points", *fields]])
    for page in pages:
        yield _lines(
            [one["customer_id"], ";".join(one["contact_points"]), *(_cell(f, one["fields"].get(f)) for f in fields)]
            for one in page
        )


def _cell(field: str, value: str | None) -> str | None:
    """What people wrote about themselves must not become a formula where the file is opened (OWASP, CSV injection)."""
    return f"'{value}" if value and field != "phone" and value[0] in "=+-@\t\r" else value


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)  # RFC 4180
    return text.getvalue().encode()


class _Drain(io.RawIOBase):
    """A file that is emptied as it is written."""

    def __init__(self) -> None:
        self._held, self._place = bytearray(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self._held = bytes(self._held), bytearray()
        return taken


def _parquet(pages: Iterable[Page], fields: Sequence[str]) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [("customer_id", pa.string()), ("contact_points", pa.list_(pa.string())), *((f, pa.string()) for f in fields)]
    )
    drain = _Drain()
    with parquet.ParquetWriter(drain, schema) as writer:
        for page in _gathered(pages):
            rows = [
                {"customer_id": one["customer_id"], "contact_points": one["contact_points"], **one["fields"]}
                for one in page
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema))
            yield drain.take()
    yield drain.take()


def _gathered(pages: Iterable[Page]) -> Iterator[Page]:
    """Pages put together to row groups that are worth reading."""
    held: list[dict[str, Any]] = []
    for page in pages:
        held += page
        if len(held) >= GROUP:
            yield held
            held = []
    if held:
        yield held
