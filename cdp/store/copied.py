"""Many rows of the store as an Arrow table, by COPY: a million rows are not a million tuples."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import sql

TEXT, NUMBER, FLAG, TIME = pa.string(), pa.int64(), pa.bool_(), pa.timestamp("us", "UTC")
PAIR = {"record_id": TEXT, "customer_id": TEXT}
PRESENT = "select record_id, customer_id from assignment"
RETIRED = """
    select distinct h.record_id, h.previous_customer_id
    from assignment_history h join customers c on c.customer_id = h.previous_customer_id
    where c.retired_at is not null and c.erased_at is null
"""


def copied(
    store: psycopg.Connection, query: str, columns: Mapping[str, pa.DataType], parameters: Sequence[Any] = ()
) -> pa.Table:
    """All rows of a query.

    Args:
        store: Asked within its transaction.
        query: Its columns are taken by their place. Of a single column, rows without a value are lost.
        columns: Their names and types: text (whatever PostgreSQL writes as text), whole numbers, flags, times.
        parameters: Bound into the query.
    """
    told = [
        # as a number: how a time is written depends on the session
        sql.SQL("(extract(epoch from {0}) * 1000000)::bigint" if kind == TIME else "{0}").format(sql.Identifier(name))
        for name, kind in columns.items()
    ]
    asked = sql.SQL("copy (select {} from ({}) as q ({})) to stdout (format csv)").format(
        sql.SQL(", ").join(told),
        sql.SQL(query),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
    )
    buffer = io.BytesIO()
    with store.cursor() as cursor, cursor.copy(asked, parameters or None) as copy:
        for chunk in copy:
            buffer.write(chunk)
    schema = pa.schema(list(columns.items()))
    if not buffer.tell():
        return schema.empty_table()
    buffer.seek(0)
    kinds = {name: NUMBER if kind == TIME else kind for name, kind in columns.items()}
    return pacsv.read_csv(
        buffer,
        read_options=pacsv.ReadOptions(column_names=list(columns)),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=kinds, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
            true_values=["t"], false_values=["f"],
        ),
    ).cast(schema)  # fmt: skip
