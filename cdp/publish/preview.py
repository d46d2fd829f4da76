"""Profiles of a few customers, recomputed at once from the store by the pipeline's own SQL in an in-memory DuckDB."""

from typing import Any

import duckdb
import psycopg
import pyarrow as pa

from cdp.lake.build import sql_file
from cdp.publish.tables import profile_row

RECORDS = """
    select r.record_id, r.source, r.kind, r.source_key, r.first_seen, r.last_seen, a.customer_id::text as customer_id,
        f.given_name, f.family_name, f.full_name, f.birth_date, f.email, f.phone, f.postal_code, f.city, f.country, f.language,
        f.identifier, coalesce(f.is_full_name, false) as is_full_name, f.given_key, f.family_key, f.full_key
    from assignment a join contact_records r using (record_id)
    cross join lateral jsonb_to_record(r.fields) as f(
        given_name text, family_name text, full_name text, birth_date date, email text, phone text, postal_code text, city text,
        country text, language text, identifier text, is_full_name boolean, given_key text, family_key text, full_key text)
    where a.customer_id = any(%s::uuid[])
"""
IDENTIFIERS = """
    select i.record_id, i.type, i.value, i.first_seen, i.last_seen, false as blocked
    from assignment a join identifiers i using (record_id) where a.customer_id = any(%s::uuid[])
"""
ORDERS = """
    select o.order_id, o.record_id, o.kind, o.ordered_at, o.currency, o.total
    from assignment a join orders o using (record_id) where a.customer_id = any(%s::uuid[])
"""
TEXT, TIME, FLAG = pa.string(), pa.timestamp("us", "UTC"), pa.bool_()
SHAPES = {
    "core__contact_records": (RECORDS, {
        **dict.fromkeys(("record_id", "source", "kind", "source_key"), TEXT), "first_seen": TIME, "last_seen": TIME, "customer_id": TEXT,
        **dict.fromkeys(("given_name", "family_name", "full_name"), TEXT), "birth_date": pa.date32(),
        **dict.fromkeys(("email", "phone", "postal_code", "city", "country", "language", "identifier"), TEXT), "is_full_name": FLAG,
        **dict.fromkeys(("given_key", "family_key", "full_key"), TEXT),
    }),
    "core__record_identifiers": (IDENTIFIERS, {
        **dict.fromkeys(("record_id", "type", "value"), TEXT), "first_seen": TIME, "last_seen": TIME, "blocked": FLAG,
    }),
    "core__orders": (ORDERS, {
        **dict.fromkeys(("order_id", "record_id", "kind"), TEXT), "ordered_at": TIME, "currency": TEXT, "total": pa.decimal128(28, 4),
    }),
}  # fmt: skip


def profiles(store: psycopg.Connection, customers: list[str]) -> list[tuple[str, str, str, str]]:
    """(customer, kind, profile, row hash) of those of these customers that hold a record, as publish would write them."""
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.execute("set timezone = 'UTC'")
        for table, (query, shape) in SHAPES.items():
            _load(engine, table, shape, store.execute(query, [customers]).fetchall())
        engine.execute(
            "create table core__record_customers as select record_id, customer_id from core__contact_records;"
            "alter table core__contact_records drop column customer_id"
        )
        for stage, table in (("profile", "core__customers"), ("profile", "core__customer_orders")):
            engine.execute(f"create table {table} as {sql_file(stage, table).sql}")
        return engine.execute(profile_row()).fetchall()


def rewrite(store: psycopg.Connection, customers: list[str]) -> None:
    """Bring the served profiles of these customers to their present records, inside the caller's transaction."""
    made = profiles(store, customers)
    living = [row[0] for row in made]
    store.execute(
        "delete from profiles where customer_id = any(%s::uuid[]) and not customer_id = any(%s::uuid[])",
        [customers, living],
    )
    with store.cursor() as cursor:
        cursor.executemany(
            "insert into profiles (customer_id, kind, profile, row_hash) values (%s, %s, %s, %s) on conflict (customer_id) "
            "do update set kind = excluded.kind, profile = excluded.profile, row_hash = excluded.row_hash",
            made,
        )


def _load(engine: duckdb.DuckDBPyConnection, table: str, shape: dict[str, Any], rows: list[tuple[Any, ...]]) -> None:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(shape)
    arrays = [pa.array(list(values), kind) for values, kind in zip(columns, shape.values(), strict=True)]
    engine.register("rows_read", pa.table(arrays, names=list(shape)))
    engine.execute(f"create table {table} as from rows_read")
    engine.unregister("rows_read")
