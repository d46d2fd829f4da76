"""Any CSV or Parquet file as a frame of text; nothing of it is lost or refused for its content."""

import csv
import io
import sys
from pathlib import Path

import polars as pl

from cdp.errors import UnreadableFile

ENCODINGS = ("utf-8-sig", "gb18030", "latin-1")


def read(path: Path) -> tuple[pl.DataFrame, int]:
    """The file's columns as text, empty text as missing; and how many rows had too few or too many fields.

    Raises:
        UnreadableFile: If it is neither CSV nor Parquet, or holds no rows.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        try:
            frame, uneven = pl.read_parquet(path), 0
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UnreadableFile(f"{path} is damaged Parquet: {error}", "write it again") from error
        frame = frame.with_columns(_as_text(frame[name]) for name in frame.columns)
    else:
        frame, uneven = _read_csv(path)
    if frame.is_empty() or not frame.columns:
        raise UnreadableFile(f"{path} holds no rows", "give a CSV file with a header line, or a Parquet file")
    return frame.with_columns(pl.all().replace("", None)), uneven


def _as_text(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        return series
    if series.dtype.is_nested() or series.dtype == pl.Binary:
        return pl.Series(series.name, [None if v is None else str(v) for v in series.to_list()], dtype=pl.String)
    return series.cast(pl.String, strict=False)


def _read_csv(path: Path) -> tuple[pl.DataFrame, int]:
    csv.field_size_limit(sys.maxsize)
    text = _decode(path.read_bytes())
    first = text[:65536]
    delimiter = max(",;\t|", key=first.split("\n", 1)[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(rows, [])]
        named = [name or f"column_{at}" for at, name in enumerate(header, 1)]
        width, uneven, values = len(named), 0, []
        for row in rows:
            if not row:
                continue
            if len(row) != width:
                uneven += 1
            values.append((row + [""] * (width - len(row)))[:width])
    except csv.Error as error:
        raise UnreadableFile(f"{path} cannot be read as CSV: {error}", "give a CSV file with a header line") from error
    if len(set(named)) < len(named):
        raise UnreadableFile(f"{path} has two columns of one name", "give every column its own name")
    return pl.DataFrame(values, schema=dict.fromkeys(named, pl.String), orient="row"), uneven


def _decode(content: bytes) -> str:
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")
