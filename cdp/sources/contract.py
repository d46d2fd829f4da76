"""A contract compiled to pandera (polars backend): which rows of a batch are sound, and why the others are not.

Everything is judged as text. A sound batch is then cast to the declared types; the cast cannot fail, because
the check of a type is that very cast.
"""

from dataclasses import dataclass
from functools import partial

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors
from pandera.polars import PolarsData

from cdp.sources.model import Column, ColumnType, Source
from cdp.sources.read import PAYLOAD_CHARACTERS, Batch, Rejected

RFC3339 = "%Y-%m-%dT%H:%M:%S%.f%#z"
TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
YEARS = (1850, 2200)  # what a person or a till can mean; beyond it, engines disagree
LARGEST_AMOUNT = 1e13  # what DECIMAL(18, 4) holds, with room


@dataclass(frozen=True)
class Contract:
    """The compiled contract of one source."""

    source: Source
    rows: pa.DataFrameSchema
    items: dict[str, pa.DataFrameSchema]

    def apply(self, batch: Batch) -> tuple[pl.DataFrame, list[Rejected]]:
        """Split a batch into sound rows, typed, with `_line`, and the reasons why the others are not.

        A row with several faults gives several reasons; it is one quarantined line all the same.
        """
        lists = {name: column for name, column in self.source.columns.items() if _nested(column)}
        plain = {name: batch.columns[name] for name in batch.names if name not in lists}
        frame = pl.DataFrame(plain, schema=dict.fromkeys(plain, pl.String))
        faults = _faults(self.rows, frame, None)
        nested: dict[str, pl.DataFrame] = {}
        for name, column in lists.items():
            nested[name], found = self._apply_list(name, column, batch.columns[name])
            faults += found
        rejected = [
            Rejected(batch.lines[row], where, check, reason, batch.payloads[row][:PAYLOAD_CHARACTERS])
            for row, where, check, reason in sorted(set(faults))
        ]
        bad = {row for row, *_ in faults}
        typed = frame.select(_typed(name, column) for name, column in self.source.columns.items() if name not in lists)
        typed = typed.with_columns(_line=pl.Series(batch.lines, dtype=pl.Int64)).with_row_index("_row")
        for name, column in lists.items():
            typed = typed.join(_folded(name, column, nested[name]), on="_row", how="left")
        sound = typed.filter(~pl.col("_row").is_in(list(bad))) if bad else typed
        return sound.sort("_row").select(*self.source.columns, "_line"), rejected

    def _apply_list(
        self, name: str, column: Column, values: list[object]
    ) -> tuple[pl.DataFrame, list[tuple[int, str, str, str]]]:
        columns = _item_columns(column)
        faults = [
            (row, name, "type_list", "expected a list of objects")
            for row, value in enumerate(values)
            if isinstance(value, str)
        ]
        faults += [
            (row, name, "not_nullable", "a value is required")
            for row, value in enumerate(values)
            if column.required and not value
        ]
        flat = [
            {"_row": row, "item_no": number, **item}
            for row, value in enumerate(values)
            if isinstance(value, list)
            for number, item in enumerate(value, 1)
        ]
        schema = {"_row": pl.Int64, "item_no": pl.Int64, **dict.fromkeys(columns, pl.String)}
        frame = pl.DataFrame(flat, schema=schema, orient="row")
        for at, where, check, reason in _faults(self.items[name], frame.select(*columns), name):
            faults.append((int(frame["_row"][at]), where, check, reason))
        return frame, faults


def compile_contract(source: Source) -> Contract:
    """Compile the contract of a source."""
    rows = {name: _column(name, column) for name, column in source.columns.items() if not _nested(column)}
    items = {
        name: pa.DataFrameSchema({key: _column(key, item) for key, item in _item_columns(column).items()})
        for name, column in source.columns.items()
        if _nested(column)
    }
    return Contract(source, pa.DataFrameSchema(rows), items)


def _nested(column: Column) -> bool:
    return column.type in (ColumnType.LIST, ColumnType.FLAGS)


def _item_columns(column: Column) -> dict[str, Column]:
    return column.items or {"name": Column(required=True), "value": Column()}


def _faults(schema: pa.DataFrameSchema, frame: pl.DataFrame, prefix: str | None) -> list[tuple[int, str, str, str]]:
    """(row, column, check, reason) of every failure; the checks' names are the reasons' keys."""
    if frame.is_empty():
        return []
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        found = []
        for column, check, index in error.failure_cases.select("column", "check", "index").iter_rows():
            name = str(check)
            where = f"{prefix}.{column}" if prefix else str(column)
            found.append((int(index), where, name.split(" ")[0], _REASONS.get(name, f"expected {name}")))
        return found
    return []


_REASONS = {
    "not_nullable": "a value is required",
    "type_integer": "expected a whole number",
    "type_decimal": "expected a number",
    "type_boolean": "expected yes or no",
    "type_timestamp": "expected a time that exists, in the declared format",
    "type_date": "expected a date that exists, in the declared format",
}


def _column(name: str, column: Column) -> pa.Column:
    checks = []
    if column.type is not ColumnType.TEXT:
        checks.append(pa.Check(partial(_casts, column=column), name=f"type_{column.type}"))
    if column.one_of is not None:
        checks.append(pa.Check(partial(_is_in, values=column.one_of), name=f"one_of {', '.join(column.one_of)}"))
    if column.matches is not None:
        checks.append(pa.Check(partial(_matches, pattern=column.matches), name=f"matches {column.matches}"))
    if column.minimum is not None or column.maximum is not None:
        low, high = column.minimum, column.maximum
        checks.append(pa.Check(partial(_between, low=low, high=high), name=f"between {low} and {high}"))
    checks.append(pa.Check(partial(_short, limit=column.max_length), name=f"max_length {column.max_length}"))
    return pa.Column(pl.String, checks=checks, nullable=not column.required, required=True, name=name)


def _holds(data: PolarsData, sound: pl.Expr) -> pl.LazyFrame:
    return data.lazyframe.select(sound.fill_null(value=False) | pl.col(data.key).is_null())


def _casts(data: PolarsData, column: Column) -> pl.LazyFrame:
    value = _cast(pl.col(data.key), column)
    if column.type is ColumnType.DECIMAL:
        return _holds(data, value.is_finite() & (value.abs() < LARGEST_AMOUNT))
    if column.type in (ColumnType.TIMESTAMP, ColumnType.DATE):
        return _holds(data, value.dt.year().is_between(*YEARS))
    return _holds(data, value.is_not_null())


def _is_in(data: PolarsData, values: tuple[str, ...]) -> pl.LazyFrame:
    return _holds(data, pl.col(data.key).is_in(list(values)))


def _matches(data: PolarsData, pattern: str) -> pl.LazyFrame:
    return _holds(data, pl.col(data.key).str.contains(pattern))


def _between(data: PolarsData, low: float | None, high: float | None) -> pl.LazyFrame:
    value = pl.col(data.key).cast(pl.Float64, strict=False)
    return _holds(
        data,
        value.is_between(low if low is not None else float("-inf"), high if high is not None else float("inf")),
    )


def _short(data: PolarsData, limit: int) -> pl.LazyFrame:
    return _holds(data, pl.col(data.key).str.len_chars() <= limit)


def _cast(value: pl.Expr, column: Column) -> pl.Expr:
    """Text to the declared type; null where it cannot be."""
    match column.type:
        case ColumnType.INTEGER:
            number = value.cast(pl.Float64, strict=False)
            whole = (
                pl.when((number.floor() == number) & (number.abs() < 2**53)).then(number).cast(pl.Int64, strict=False)
            )
            return pl.coalesce(value.cast(pl.Int64, strict=False), whole)
        case ColumnType.DECIMAL:
            return value.cast(pl.Float64, strict=False)
        case ColumnType.BOOLEAN:
            lower = value.str.to_lowercase()
            return (
                pl.when(lower.is_in(TRUE)).then(pl.lit(value=True)).when(lower.is_in(FALSE)).then(pl.lit(value=False))
            )
        case ColumnType.TIMESTAMP if column.format is None:
            return value.str.to_datetime(RFC3339, time_zone="UTC", time_unit="us", strict=False)
        case ColumnType.TIMESTAMP:
            naive = value.str.to_datetime(column.format, time_unit="us", strict=False)
            zoned = naive.dt.replace_time_zone(column.timezone, ambiguous="earliest", non_existent="null")
            return zoned.dt.convert_time_zone("UTC")
        case ColumnType.DATE:
            return value.str.to_date(column.format or "%Y-%m-%d", strict=False)
        case _:
            return value


def _typed(name: str, column: Column) -> pl.Expr:
    """The column as it is stored; decimals stay text until DuckDB casts them exactly."""
    value = pl.col(name)
    return value if column.type is ColumnType.DECIMAL else _cast(value, column).alias(name)


def _folded(name: str, column: Column, frame: pl.DataFrame) -> pl.DataFrame:
    """Items back into one list of structs a row."""
    columns = _item_columns(column)
    order = ["item_no", *columns] if column.type is ColumnType.LIST else list(columns)
    typed = frame.select("_row", "item_no", *(_typed(key, item) for key, item in columns.items()))
    return (
        typed.sort("_row", "item_no")
        .group_by("_row", maintain_order=True)
        .agg(pl.struct(order).alias(name))
        .with_columns(pl.col("_row").cast(pl.get_index_type()))
    )
