"""Publish by difference: batches of whole groups of customers that exchange records, each one transaction."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
import psycopg
from psycopg import sql

from cdp.errors import LakeError
from cdp.lake import register
from cdp.lake.build import incoming
from cdp.lake.engine import Lake
from cdp.publish.difference import stage_all
from cdp.publish.tables import SERVED, Served
from cdp.store import assignment, changes, consents

BATCH_ROWS = 5_000
NOBODY = "nobody"
DECISIONS = Served(
    "consent_decisions", ("decision_id",), "record_id",
    ("decision_id", "record_id", "subject_type", "subject", "purpose", "status", "captured_at", "received_at", "source",
     "method", "notice_version", "evidence", "basis", "jurisdiction", "expires_at", "confirmed_at", "separate_consent",
     "is_explicit", "actor", "recorded_at"),
)  # fmt: skip
ORDERS = next(table for table in SERVED if table.name == "orders")


@dataclass
class Published:
    """What publishing wrote."""

    rows: dict[str, int] = field(default_factory=dict)
    left_alone: list[str] = field(default_factory=list)
    batches: int = 0

    @property
    def written(self) -> int:
        """Rows that differed, over all tables."""
        return sum(self.rows.values())


def publish(
    lake: Lake,
    store: psycopg.Connection,
    now: datetime,
    started_at: int,
    log: Callable[[str], None] | None = None,
) -> Published:
    """Bring the store to what the lake says; a second call writes nothing.

    Args:
        lake: Holds the finished tables.
        store: The owner's connection, outside a transaction.
        now: Time of the change rows.
        started_at: Position of the assignment when the run began: a customer whose assignment somebody changed
            since is left alone, and the next run catches up.
        log: Told the progress.
    """
    result = Published(rows=stage_all(lake, store))
    if not result.written:
        changes.sequence(store)
        return result
    differing = [table for table in SERVED if result.rows[table.name]]
    decided = [DECISIONS] if result.rows[DECISIONS.name] else []
    _group(lake, differing + decided)
    # what is published may have been made by an earlier run, of which this one does the rest
    started_at = min(started_at, int(register.recorded(lake, assignment.SEEN) or started_at))
    result.left_alone = _leave_alone(lake, store, started_at)
    _put_into_batches(lake, differing + decided)
    numbers = [int(row[0]) for row in lake.rows("select distinct batch from batches order by 1")]
    for number in numbers:
        try:
            with store.transaction():
                late = _changed_meanwhile(lake, store, number, started_at)
                if not late:
                    _write_batch(lake, store, number, now, differing)
                    if decided:
                        _write_decisions(store, _rows(lake, DECISIONS.name, number), now)
            result.left_alone += late
        except psycopg.DataError as error:  # its text quotes the row
            raise LakeError(
                f"a row cannot be served: {type(error).__name__} {error.sqlstate or ''}",
                "report it; nothing of its batch was written",
            ) from None
        result.batches += 1
        if log and result.batches % 20 == 0:
            log(f"published {result.batches} of {len(numbers)} batches")
    changes.sequence(store)
    return result


def _group(lake: Lake, differing: list[Served]) -> None:
    """`batches(customer_id, band, batch)`: customers that exchange records share a band, bands fill batches in order."""
    parents: dict[str, str] = {}

    def root(customer: str) -> str:
        while (parent := parents.get(customer, customer)) != customer:
            parents[customer] = customer = parents.get(parent, parent)
        return customer

    for left, right in lake.rows(
        "select customer_id, previous from moves where customer_id is not null and previous is not null"
    ):
        one, other = sorted((root(left), root(right)))
        parents[other] = one
    parts = [f"select whose from changed_{table.name}" for table in differing]
    parts += [
        "select customer_id as whose from moves",
        "select previous from moves where customer_id is null",
    ]
    counted = lake.rows(
        f"select coalesce(whose, '{NOBODY}'), count(*) from ({' union all '.join(parts)}) as t group by 1 order by 1"
    )
    sizes: dict[str, int] = {}
    members: dict[str, list[str]] = {}
    everyone = {customer for customer, _ in counted} | set(parents)
    rows_of = dict(counted)
    for customer in sorted(everyone):
        sizes[root(customer)] = sizes.get(root(customer), 0) + rows_of.get(customer, 0)
        members.setdefault(root(customer), []).append(customer)
    batch, filled = 0, 0
    rows = []
    for group in sorted(members):
        if filled and filled + sizes[group] > BATCH_ROWS:
            batch, filled = batch + 1, 0
        filled += sizes[group]
        rows += [(customer, group, batch) for customer in members[group]]
    frame = pl.DataFrame(rows, schema={"customer_id": pl.String, "band": pl.String, "batch": pl.Int64}, orient="row")
    with incoming(lake, frame.to_arrow()):
        lake.rows("create or replace table memory.main.batches as from incoming")


def _put_into_batches(lake: Lake, differing: list[Served]) -> None:
    """Order every change by its batch, so that reading a batch reads no other.

    `changed_lines` holds the lines of the orders that differ.
    """
    for table in differing:
        lake.rows(
            f"create or replace table memory.main.batched_{table.name} as select t.*, b.batch from changed_{table.name} t "
            f"join batches b on b.customer_id = coalesce(t.whose, '{NOBODY}') order by b.batch"
        )
        lake.rows(f"drop table memory.main.changed_{table.name}")
    lake.rows(
        "create or replace table memory.main.batched_moves as select m.record_id, m.customer_id, b.batch from moves m "
        f"join batches b on b.customer_id = coalesce(m.customer_id, m.previous, '{NOBODY}') order by b.batch"
    )
    if ORDERS not in differing:
        return
    lake.rows(
        """
        create or replace table memory.main.changed_lines as
        select o.batch, l.order_id, l.line_no, cast(to_json({'line_no': l.line_no, 'sku': l.sku, 'name': l.name,
            'quantity': l.quantity, 'unit_price': cast(l.unit_price as varchar), 'amount': cast(l.amount as varchar)}) as varchar) as line
        from batched_orders o
        join core__order_lines l on l.order_id = o.order_id
        order by o.batch
        """
    )


def _with_lines(lake: Lake, orders: pl.DataFrame, number: int) -> pl.DataFrame:
    """Put the lines of a batch's orders into their details."""
    lines = dict(
        lake.rows(
            "select order_id, string_agg(line, ', ' order by line_no) from changed_lines where batch = ? group by order_id",
            [number],
        )
    )
    details = [
        f'{text[:-1]}, "lines": [{lines.get(order, "")}]}}' if text else text
        for order, text in zip(orders["order_id"].to_list(), orders["details"].to_list(), strict=True)
    ]
    return orders.with_columns(details=pl.Series(details, dtype=pl.String))


def _leave_alone(lake: Lake, store: psycopg.Connection, started_at: int) -> list[str]:
    """Take out the groups of customers whose assignment changed since the run began; returns those customers."""
    touched = store.execute(
        "select distinct unnest(array[customer_id, previous_customer_id])::text from assignment_history "
        "where position > %s and run_id <> %s",
        [started_at, lake.run_id],
    ).fetchall()
    found = sorted(str(row[0]) for row in touched if row[0])
    if found:
        with incoming(lake, pl.DataFrame({"customer_id": found}).to_arrow()):
            lake.rows(
                "delete from memory.main.batches where band in (select band from batches join incoming using (customer_id))"
            )
    return found


def _changed_meanwhile(lake: Lake, store: psycopg.Connection, number: int, started_at: int) -> list[str]:
    """Lock the batch's customers in id order; those that somebody else moved since the run began stop their batch."""
    concerned = [row[0] for row in lake.rows("select customer_id from batches where batch = ? order by 1", [number])]
    ids = [customer for customer in concerned if customer != NOBODY]
    store.execute("select 1 from customers where customer_id = any(%s::uuid[]) order by customer_id for update", [ids])
    found = store.execute(
        "select distinct unnest(array[customer_id, previous_customer_id])::text from assignment_history "
        "where position > %s and run_id <> %s and (customer_id = any(%s::uuid[]) or previous_customer_id = any(%s::uuid[]))",
        [started_at, lake.run_id, ids, ids],
    ).fetchall()
    return sorted(str(row[0]) for row in found if row[0])


def _write_batch(lake: Lake, store: psycopg.Connection, number: int, now: datetime, differing: list[Served]) -> None:
    moves = lake.rows("select record_id, customer_id from batched_moves where batch = ? order by 1", [number])
    assignment.apply(store, [assignment.Move(r, c) for r, c in moves], now, lake.run_id, "pipeline")
    updated: set[str] = set()
    for table in differing:
        frame = _rows(lake, table.name, number)
        if table is ORDERS:
            frame = _with_lines(lake, frame, number)
        _delete(store, table, frame.filter(pl.col("gone")))
        _upsert(store, table, frame.filter(~pl.col("gone")))
        if table.name == "profiles":
            updated |= set(frame.filter(~pl.col("gone"))["customer_id"].to_list())
        elif table.name in ("contact_records", "identifiers"):  # what consent rests on, though no value may differ
            updated |= set(frame["whose"].drop_nulls().to_list())
    changes.add(store, [("customer.updated", c, {}) for c in sorted(updated)], now)


def _write_decisions(store: psycopg.Connection, decided: pl.DataFrame, now: datetime) -> None:
    """Append them, and tell whom they concern."""
    _upsert(store, DECISIONS, decided.with_columns(recorded_at=pl.lit(now)), hashed=False)
    consents.tell(store, decided["whose"].drop_nulls().to_list(), decided.select("subject_type", "subject").rows(), now)


def _rows(lake: Lake, table: str, number: int) -> pl.DataFrame:
    query = f"select * exclude (batch) from batched_{table} where batch = ?"
    return pl.DataFrame(lake.connection.execute(query, [number]).to_arrow_table())


def _upsert(store: psycopg.Connection, table: Served, frame: pl.DataFrame, *, hashed: bool = True) -> None:
    """COPY into a temporary table, then insert or update; append-only tables keep what they have."""
    if frame.is_empty():
        return
    columns = [*table.columns, *(["row_hash"] if hashed else [])]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    target, staged = sql.Identifier(table.name), sql.Identifier(f"incoming_{table.name}")
    store.execute(
        sql.SQL("create temporary table if not exists {} (like {}) on commit delete rows").format(staged, target)
    )
    with (
        store.cursor() as cursor,
        cursor.copy(sql.SQL("copy {} ({}) from stdin").format(staged, names)) as copy,
    ):
        for row in frame.select(columns).iter_rows():
            copy.write_row(row)
    keys = sql.SQL(", ").join(map(sql.Identifier, table.key))
    updates = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns if name not in table.key
    )
    action = sql.SQL("do update set {}").format(updates) if hashed else sql.SQL("do nothing")
    store.execute(
        sql.SQL("insert into {} ({}) select {} from {} on conflict ({}) {}").format(
            target, names, names, staged, keys, action
        )
    )
    store.execute(sql.SQL("truncate {}").format(staged))


def _delete(store: psycopg.Connection, table: Served, frame: pl.DataFrame) -> None:
    if frame.is_empty():
        return
    matches = sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in table.key)
    with store.cursor() as cursor:
        cursor.executemany(
            sql.SQL("delete from {} where {}").format(sql.Identifier(table.name), matches),
            frame.select(table.key).rows(),
        )
