"""Draft the YAML of a new source from a sample file: a start to be read and corrected, already checked."""

import csv
import itertools
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import orjson
import polars as pl
import pyarrow.parquet as pq
import yaml

from cdp.errors import UnreadableFile
from cdp.sources.contract import compile_contract
from cdp.sources.model import Source
from cdp.sources.read import DAMAGE, Batch, open_file, read_batches

SAMPLE = 2_000
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
TIME_FORMATS = (
    None,
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%Y%m%d%H%M%S",
)
DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%Y%m%d")
ROLES = {
    "order": r"^(order|invoice|transaction|receipt|bill|basket)_?(id|no|number|key|ref)?$",
    "sku": r"^(sku|stock_?code|article|item|product)_?(id|no|code|number)?$",
    "item_name": r"^(description|product_?name|item_?name|title)$",
    "quantity": r"^(quantity|qty|units|count)$",
    "unit_price": r"^(unit_?)?price$|^unit_?price$|^amount$",
    "discount": r"^discount$",
    "currency": r"^currency(_?code)?$",
    "original": r"^original_(order|transaction|invoice)_?(id|no)?$",
    "customer": r"^(customer|client|member|user|account|person)_?(id|no|number|key)?$",
    "email": r"^e_?mail(_?address)?$|_email$",
    "phone": r"^(phone|mobile|tel|telephone|msisdn)(_?(no|number))?$|_phone$",
    "given_name": r"^(first|given)_?name$|^forename$",
    "family_name": r"^(last|family)_?name$|^surname$",
    "full_name": r"^(full_?|customer_?)?name$",
    "birth_date": r"^(birth_?(day|date)|dob|date_of_birth)$",
    "postal_code": r"^(post(al)?_?code|zip(_?code)?)$",
    "city": r"^(city|town)$",
    "country": r"^country(_?code)?$",
    "version": r"^(updated|modified)_?(at|on)$|^version$",
    "key": r"^(id|unique_?id|uuid|guid|message_?id|event_?id|record_?id|row_?id|line_?id)$",
}
NAMES_SOMETHING = re.compile(r"(^|_)(id|no|number|code|key|ref|reference|card|phone|mobile|zip|sku)$")
PERSONAL = (
    "email",
    "phone",
    "given_name",
    "family_name",
    "full_name",
    "birth_date",
    "postal_code",
    "city",
    "country",
)


def draft(path: Path, name: str, encoding: str = "utf-8") -> dict[str, Any]:
    """What the YAML of this source could be.

    Raises:
        UnreadableFile: If the file is of no known format, or holds no rows.
    """
    kind = _format(path)
    try:
        headers, delimiter = headers_of(path, kind, encoding)
    except DAMAGE as error:
        raise UnreadableFile(
            f"{path.name} cannot be read as {kind}: {str(error)[:200]}", "give a whole file"
        ) from error
    columns = _columns(headers)
    plain: dict[str, Any] = {
        "source": name,
        "table": "rows",
        "format": kind,
        "seen_at": "_landed_at",
        "columns": columns,
    }
    if encoding != "utf-8":
        plain["encoding"] = encoding
    if delimiter != ",":
        plain["delimiter"] = delimiter
    batch = _sample(path, Source.model_validate(plain))
    for column, definition in columns.items():
        if not NAMES_SOMETHING.search(column) or column in ("line_no", "line_number"):
            definition.update(_type([value for value in batch.columns[column] if value is not None]))
        if definition["path"] == column:
            del definition["path"]
        if all(value is not None for value in batch.columns[column]):
            definition["required"] = True
    roles = _roles(list(columns))
    for role in PERSONAL:
        if role in roles and role not in ("city", "country"):
            columns[roles[role]]["pii"] = True
    return plain | _meaning(name, batch, roles, columns)


def check(path: Path, source: Source) -> tuple[int, int, list[str]]:
    """Run the contract over a sample: rows read, rows that break it, and the most frequent reasons."""
    batch = _sample(path, source)
    sound, rejected = compile_contract(source).apply(batch)
    reasons = [f"{r.column or 'line'}: {r.reason}" for r in (*batch.rejected, *rejected)]
    common = sorted({reason: reasons.count(reason) for reason in reasons}.items(), key=lambda item: -item[1])
    total = len(batch.lines) + len(batch.rejected)
    return total, total - len(sound), [f"{reason} ({count}×)" for reason, count in common[:5]]


def to_yaml(values: dict[str, Any]) -> str:
    """The draft as text, in the order in which a person reads it."""
    order = (
        "source",
        "table",
        "description",
        "format",
        "encoding",
        "delimiter",
        "key",
        "version",
        "seen_at",
        "columns",
        "parties",
        "orders",
    )
    kept = {key: values[key] for key in order if key in values}
    note = (
        "# Drafted from a sample by 'cdp source add': read it, correct it, then run 'cdp run'. See docs/sources.md.\n"
    )
    return note + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=120)


def _format(path: Path) -> str:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in FORMATS:
        raise UnreadableFile(
            f"{path.name}: unknown format '{suffix}'", "give a .csv, .jsonl or .parquet file (also .gz)"
        )
    return FORMATS[suffix]


def headers_of(path: Path, kind: str, encoding: str, share: float = 0.0, delimiter: str = "") -> tuple[list[str], str]:
    """The columns of a file (of JSON lines: the dotted paths that this share of its first lines have), and its delimiter.

    Raises:
        UnreadableFile: If it is empty or holds no row of this kind.
    """
    if kind == "parquet":
        return list(pq.ParquetFile(path).schema_arrow.names), ","
    with open_file(path) as file:
        lines = [
            line.decode(encoding, errors="replace").removeprefix("\ufeff") for line in itertools.islice(file, SAMPLE)
        ]
    if not any(line.strip() for line in lines):
        raise UnreadableFile(f"{path.name} is empty", "give a file with rows")
    if kind == "csv":
        delimiter = delimiter or max(",;\t|", key=lines[0].count)
        return [cell.strip() for cell in next(csv.reader([lines[0]], delimiter=delimiter))], delimiter
    paths: Counter[str] = Counter()
    rows = 0
    for line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            paths.update(_paths(row))
            rows += 1
    if not paths:
        raise UnreadableFile(
            f"{path.name} holds no JSON object a line", "give a file with one JSON object on each line"
        )
    return [name for name, count in paths.items() if count >= rows * share], ","


def _paths(row: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in row.items():
        found += _paths(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
    return found


def _column_name(header: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", header)
    name = re.sub(r"\W+", "_", snake).strip("_").lower() or "column"
    return name if name[0].isalpha() else f"c_{name}"


def _columns(headers: list[str]) -> dict[str, dict[str, Any]]:
    """Column names for headers; two that read alike get a number, so that none is lost."""
    found: dict[str, dict[str, Any]] = {}
    for header in headers:
        name, number = _column_name(header), 1
        while name in found:
            number += 1
            name = f"{_column_name(header)}_{number}"
        found[name] = {"path": header}
    return found


def _sample(path: Path, source: Source) -> Batch:
    batch = next(iter(read_batches(path, source)), None)
    if batch is None or not (batch.lines or batch.rejected):
        raise UnreadableFile(f"{path.name} holds no rows", "give a file with rows")
    return batch


def _type(values: list[str]) -> dict[str, Any]:
    """The narrowest type that 95 of 100 values have; the others will be quarantined, which is the point of a contract."""
    if not values:
        return {}
    series = pl.Series(values[:SAMPLE], dtype=pl.String)
    need = 0.95 * len(series)
    leading_zero = series.str.contains(r"^0\d").any()
    if not leading_zero and series.str.contains(r"^-?\d{1,15}$").sum() >= need:
        return {"type": "integer"}
    if not leading_zero and series.str.contains(r"^-?\d+([.]\d+)?([eE]-?\d+)?$").sum() >= need:
        return {"type": "decimal"}
    for shape in TIME_FORMATS:
        parsed = series.str.to_datetime(
            shape or "%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_zone=None if shape else "UTC"
        )
        if parsed.is_not_null().sum() >= need:
            return {"type": "timestamp"} | ({"format": shape} if shape else {})
    for shape in DATE_FORMATS:
        if series.str.to_date(shape, strict=False).is_not_null().sum() >= need:
            return {"type": "date", "format": shape}
    return {}


def _roles(names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for role, pattern in ROLES.items():
        match = next((name for name in names if re.search(pattern, name) and name not in found.values()), None)
        if match:
            found[role] = match
    return found


@cache
def _keywords() -> frozenset[str]:
    return frozenset(
        str(row[0]) for row in duckdb.connect().execute("select keyword_name from duckdb_keywords()").fetchall()
    )


def _expression(column: str) -> str:
    """A column as an expression; SQL's own words go in quotes."""
    return f'"{column}"' if column in _keywords() else column


def _meaning(name: str, batch: Batch, named: dict[str, str], columns: dict[str, Any]) -> dict[str, Any]:
    """Key, times, parties and orders as far as the columns' names tell."""
    result: dict[str, Any] = {}
    roles = {role: _expression(column) for role, column in named.items()}
    key = named.get("key")
    if key and columns[key].get("required") and len(set(batch.columns[key])) == len(batch.columns[key]):
        result["key"] = [key]
        if "version" in named and columns[named["version"]].get("type") in ("timestamp", "integer"):
            result["version"] = named["version"]
    times = [_expression(column) for column, definition in columns.items() if definition.get("type") == "timestamp"]
    dates = [
        _expression(column)
        for column, definition in columns.items()
        if definition.get("type") == "date" and named.get("birth_date") != column
    ]
    seen = times[0] if times else f"cast({dates[0]} as timestamptz)" if dates else "_landed_at"
    result["seen_at"] = seen
    fields = {role: roles[role] for role in PERSONAL if role in roles}
    party_key = roles.get("customer") or (fields and roles.get("key")) or roles.get("email") or roles.get("phone")
    if party_key:
        party: dict[str, Any] = {"kind": "customer", "key": party_key}
        if "customer" in roles:
            party["identifier"] = "account"
        result["parties"] = {"customer": party | ({"fields": fields} if fields else {})}
    if {"order", "sku", "quantity", "unit_price"} <= roles.keys() and (times or dates):
        orders = {
            "key": roles["order"], "at": seen, "currency": roles.get("currency", "'GBP'"), "line": "_line",
            "sku": roles["sku"], "quantity": roles["quantity"], "unit_price": roles["unit_price"],
        }  # fmt: skip
        for role, field in (("item_name", "name"), ("discount", "discount"), ("original", "original")):
            if role in roles:
                orders[field] = f"coalesce({roles[role]}, 0)" if role == "discount" else roles[role]
        result["orders"] = orders | ({"owner": ["customer"]} if party_key else {})
    return result
