"""Give every cluster its customer id, from the assignment that stands in the store."""

from datetime import datetime

import psycopg
import pyarrow as pa

from cdp.lake import build, register
from cdp.lake.engine import Lake
from cdp.store import assignment
from cdp.store.copied import PAIR, PRESENT, RETIRED, copied
from identity import ids

TABLE = "core__record_customers"
NAMED = pa.schema({"cluster_id": pa.string(), "customer_id": pa.string()})
MOVED = ("created", "retired", "split", "joined", "records moved")
KEPT = """
    create or replace temp table kept as
    with shared as (
        select c.cluster_id, i.customer_id, count(*) as records from core__clusters c join incoming i using (record_id) group by all
    ), clusters as (
        select cluster_id, count(*) as records from core__clusters group by all
    ), customers as (
        select customer_id, count(*) as records from incoming group by all
    )
    select cluster_id, customer_id from shared join clusters using (cluster_id, records) join customers using (customer_id, records)
"""  # the same records as before: no other cluster can have a claim to the id, nor this one to another
OVERLAP = """
    select c.cluster_id, i.customer_id, count(*)
    from core__clusters c join incoming i using (record_id) anti join kept k on k.cluster_id = c.cluster_id
    anti join kept t on t.customer_id = i.customer_id group by all
"""  # somebody may be merged between one reading of the store and the next: no id is given twice
OTHERS = "select distinct cluster_id from core__clusters anti join kept using (cluster_id)"
ASSIGNED = """
    select record_id, customer_id from core__clusters join (from kept union all from incoming) using (cluster_id) order by record_id
"""


def build_record_customers(
    lake: Lake, store: psycopg.Connection, now: datetime, started_at: int | None = None
) -> build.Built:
    """`core__record_customers(record_id, customer_id)`: after publishing, equal to the store's assignment.

    Args:
        lake: Where.
        store: Whose assignment it goes on from.
        now: When new customers are made.
        started_at: Position of the assignment when the run began; noted, for whoever publishes this table in another run.
    """
    position = assignment.position(store)
    mark = build.fingerprint(lake, ("core__clusters",), position, "stable 1")
    built = build.build_table(lake, TABLE, mark, lambda: _assigned(lake, store, now))
    seen = str(position if started_at is None else min(position, started_at))
    if register.recorded(lake, assignment.SEEN) != seen:
        lake.write(lambda: register.record(lake, assignment.SEEN, seen), "note the assignment that was seen")
    return built


def churn(lake: Lake, store: psycopg.Connection) -> dict[str, int]:
    """How the new assignment differs from the published one: customers created, gone, split and joined, records moved."""
    held = copied(store, PRESENT, PAIR)
    if not len(held) and build.is_empty(lake, TABLE):
        return dict.fromkeys(MOVED, 0)
    with build.incoming(lake, held):
        row = lake.rows(
            """
            with placed as (
                select n.record_id, n.customer_id as now, i.customer_id as before
                from core__record_customers n full join incoming i on i.record_id = n.record_id
            )
            select
                (select count(distinct now) from placed where now not in (select customer_id from incoming)),
                (select count(distinct before) from placed where before not in (select customer_id from core__record_customers)),
                (select count(*) from (select before from placed where before is not null group by before having count(distinct now) > 1)),
                (select count(*) from (select now from placed where before is not null group by now having count(distinct before) > 1)),
                (select count(*) from placed where before is not null and now is distinct from before)
            """
        )[0]
    return dict(zip(MOVED, map(int, row), strict=True))


def _assigned(lake: Lake, store: psycopg.Connection, now: datetime) -> pa.Table:
    overlaps = []
    for query in (PRESENT, RETIRED):
        with build.incoming(lake, copied(store, query, PAIR)):
            if query == PRESENT:
                lake.rows(KEPT)
            overlaps.append([(str(c), str(i), int(n)) for c, i, n in lake.rows(OVERLAP)])
    others = [str(row[0]) for row in lake.rows(OTHERS)]
    chosen = ids.assign(others, overlaps[0], overlaps[1], lambda: ids.uuid7(now))
    with build.incoming(lake, pa.table({"cluster_id": [*chosen.keys()], "customer_id": [*chosen.values()]}, NAMED)):
        made = lake.connection.execute(ASSIGNED).to_arrow_table()
    lake.drop("kept")
    return made
