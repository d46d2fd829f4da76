"""What the store lacks: served rows whose fingerprint differs, rows that are gone, records that change customer."""

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from cdp.lake.build import incoming, is_empty, reads_nothing
from cdp.lake.engine import Lake
from cdp.publish.tables import SERVED, Served, hashed_rows
from cdp.store import arrivals
from cdp.store.copied import PRESENT, TEXT, copied

SETTINGS = ("core__insight_terms",)
AHEAD = "ahead"  # the fingerprint of a row whose event this run has not read


def stage_assignment(lake: Lake, store: psycopg.Connection) -> int:
    """`moves(record_id, customer_id, previous)` in memory: records whose customer differs from the store's."""
    held = copied(store, PRESENT, {"record_id": TEXT, "previous": TEXT})
    if not len(held) and is_empty(lake, "core__record_customers"):
        lake.rows(
            "create or replace table memory.main.moves (record_id varchar, customer_id varchar, previous varchar)"
        )
        return 0
    with incoming(lake, held):
        lake.rows(
            "create or replace table memory.main.moves as "
            "select coalesce(c.record_id, i.record_id) as record_id, c.customer_id, i.previous "
            "from core__record_customers c full join incoming i on i.record_id = c.record_id "
            "where c.customer_id is distinct from i.previous"
        )
    return int(lake.scalar("select count(*) from moves"))


def stage_table(lake: Lake, store: psycopg.Connection, table: Served, ahead: set[str]) -> int:
    """`changed_<table>` in memory: rows to write and keys to delete (`gone`), each with its customer; returns how many.

    Rows that carry a mark of `ahead` stay. Where nothing is served and there is nothing to serve the table is not made.
    """
    known = _known(store, table, ahead)
    if not len(known) and reads_nothing(lake, table.select.sql, SETTINGS):
        return 0
    columns = ", ".join((*table.columns, *table.watched))
    keys = ", ".join(table.key)
    same = " and ".join(f"s.{name} = n.{name}" for name in table.key)
    customer = "n.customer_id" if table.owner == "customer_id" else "c.customer_id"
    member = (
        "" if table.owner == "customer_id" else f"left join core__record_customers c on c.record_id = n.{table.owner}"
    )
    with incoming(lake, known):
        lake.rows(
            f"""
            create or replace table memory.main.changed_{table.name} as
            with wanted as ({hashed_rows(columns, table.select.sql)}), new as (
                select n.*, false as gone from wanted n
                left join incoming s on {same} where s.row_hash is distinct from n.row_hash and s.row_hash is distinct from '{AHEAD}'
            ), old as (
                select s.* from incoming s anti join wanted n on {same} where s.row_hash <> '{AHEAD}'
            ), united as (
                select * from new union all by name select {keys}, row_hash, true as gone from old
            )
            select n.*, {customer} as whose from united n {member}
            """
        )
    return int(lake.scalar(f"select count(*) from changed_{table.name}"))


def stage_decisions(lake: Lake, store: psycopg.Connection) -> int:
    """`changed_consent_decisions` in memory: decisions that the store does not know yet; not made where there are none."""
    if is_empty(lake, "core__consent_decisions"):
        return 0
    known = copied(store, "select decision_id from consent_decisions", {"decision_id": TEXT})
    with incoming(lake, known):
        lake.rows(
            "create or replace table memory.main.changed_consent_decisions as "
            "select d.*, c.customer_id as whose from core__consent_decisions d "
            "left join core__record_customers c using (record_id) anti join incoming using (decision_id)"
        )
    return int(lake.scalar("select count(*) from changed_consent_decisions"))


def stage_all(lake: Lake, store: psycopg.Connection) -> dict[str, int]:
    """Stage every difference; returns rows that differ by table."""
    found, ahead = {"assignment": stage_assignment(lake, store)}, arrivals.waiting(store)
    for table in SERVED:
        found[table.name] = stage_table(lake, store, table, ahead)
    found["consent_decisions"] = stage_decisions(lake, store)
    return found


def _known(store: psycopg.Connection, table: Served, ahead: set[str]) -> pa.Table:
    """What is served; rows of events that this run has not read are ahead of it, and stay as they are."""
    found = _stored(store, table)
    if not ahead:
        return found
    marks = pc.is_in(found["row_hash"], value_set=pa.array(sorted(ahead), pa.string()))
    return found.set_column(
        found.schema.get_field_index("row_hash"), "row_hash", pc.if_else(marks, AHEAD, found["row_hash"])
    )


def _stored(store: psycopg.Connection, table: Served) -> pa.Table:
    """Keys and fingerprints of what is served, as text."""
    names = [*table.key, "row_hash"]
    return copied(store, f"select {', '.join(names)} from {table.name}", dict.fromkeys(names, TEXT))
