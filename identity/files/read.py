"""Any CSV or Parquet file as a frame of text; nothing of it is lost or refused for its content."""

import contextlib
import csv
import io
import itertools
import re
import sys
from pathlib import Path

import polars as pl

from cdp.errors import UnreadableFile
from cdp.standard.names import CJK

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
LATIN_READ_AS_CHINESE = re.compile(f"[a-z]{CJK.pattern}|{CJK.pattern}[a-z]")  # M黮ler: Müller in Latin-1
PRIVATE = re.compile("[\ue000-\uf8ff]")
SEPARATOR = re.compile("\ufeff?sep=(.)\r?\n")


def read(path: Path) -> tuple[pl.DataFrame, int]:
    """The file's columns as text, empty text as missing; and how many rows had too few or too many fields.

    Raises:
        UnreadableFile: If it is neither CSV nor Parquet, or holds no rows.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(b"\x1f\x8b") or head == b"PK\x03\x04":
        kind = "compressed" if head.startswith(b"\x1f\x8b") else "a spreadsheet or an archive"
        raise UnreadableFile(f"{path} is {kind}", "save it as CSV or Parquet, uncompressed")
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


def as_written(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of a file that was read as text, in the types that it has itself."""
    with path.open("rb") as file:
        return pl.read_parquet(path) if file.read(4) == b"PAR1" else frame


def texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists, structures and bytes as text, for a format that knows none."""
    return frame.with_columns(
        _as_text(series) for series in frame if series.dtype.is_nested() or series.dtype == pl.Binary
    )


def _as_text(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        return series
    if series.dtype.is_nested() or series.dtype == pl.Binary:
        return pl.Series(series.name, [None if v is None else str(v) for v in series.to_list()], dtype=pl.String)
    return series.cast(pl.String, strict=False)


def _read_csv(path: Path) -> tuple[pl.DataFrame, int]:
    csv.field_size_limit(sys.maxsize)
    text = _decode(path.read_bytes())
    if asked := SEPARATOR.match(text):  # a first line by which Excel is told
        text = text[asked.end() :]
    first = text[:65536]
    delimiter = asked[1] if asked else max(",;\t|", key=first.split("\n", 1)[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next((row for row in rows if any(map(str.strip, row))), [])]
        lines = [row for row in rows if row]
        if lines and all(len(row) == len(header) + 1 for row in lines):  # R writes no name over the numbers of its rows
            header = ["row", *header]
        named = _named(header)
        width, uneven, values = len(named), 0, []
        for row in lines:
            if len(row) != width:
                uneven += 1
            values.append((row + [""] * (width - len(row)))[:width])
    except csv.Error as error:
        raise UnreadableFile(f"{path} cannot be read as CSV: {error}", "give a CSV file with a header line") from error
    return pl.DataFrame(values, schema=dict.fromkeys(named, pl.String), orient="row"), uneven


def _named(header: list[str]) -> list[str]:
    """Every column under a name of its own: `column_3` where it has none, `name_2` where another has it."""
    named: list[str] = []
    for at, name in enumerate(header, 1):
        wanted = name or f"column_{at}"
        more = (f"{wanted}_{number}" for number in itertools.count(2))
        named.append(next(free for free in itertools.chain([wanted], more) if free not in named))
    return named


def _decode(content: bytes) -> str:
    """UTF-8, UTF-16 with its mark, a Chinese encoding, else a western one: Chinese is told by its characters standing together."""
    mostly = content.decode("utf-8", "replace")
    if mostly.count("\ufffd") * 10 <= sum(letter > "\x7f" for letter in mostly):
        return mostly.removeprefix("\ufeff")  # a stray byte among many letters: all others are as they were written
    for encoding in ("utf-16",) if content.startswith(UTF_16) else ("utf-8-sig", "gb18030"):
        with contextlib.suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            wrong = len(LATIN_READ_AS_CHINESE.findall(text)) if encoding == "gb18030" else 0
            if PRIVATE.search(text) and encoding == "gb18030":  # traditional Chinese read as the other encoding
                with contextlib.suppress(UnicodeDecodeError):
                    return content.decode("big5hkscs")
            if not wrong or wrong < len(CJK.findall(text)) / 2:
                return text
    return content.decode("cp1252", "replace")
