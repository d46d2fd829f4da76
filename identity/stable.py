"""Give every cluster its customer id, from the assignment that stands in the store."""

from datetime import datetime

import polars as pl
import psycopg

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.store import assignment
from cdp.store.copied import PAIR, PRESENT, RETIRED, copied
from identity import ids

TABLE = "core__record_customers"
MEMBER = {"record_id": pl.String, "cluster_id": pl.String}
NAMED = {"cluster_id": pl.String, "customer_id": pl.String}
MOVED = ("created", "retired", "split", "joined", "records moved")
OVERLAP = """
    select c.cluster_id, i.customer_id, count(*)
    from core__clusters c join incoming i using (record_id) group by all
"""


def build_record_customers(lake: Lake, store: psycopg.Connection, now: datetime) -> build.Built:
    """`core__record_customers(record_id, customer_id)`: after publishing, equal to the store's assignment."""
    mark = build.fingerprint(lake, ("core__clusters",), assignment.position(store), "stable 1")
    return build.build_table(lake, TABLE, mark, lambda: _assigned(lake, store, now).to_arrow())


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


def _assigned(lake: Lake, store: psycopg.Connection, now: datetime) -> pl.DataFrame:
    overlaps = []
    for held in (PRESENT, RETIRED):
        with build.incoming(lake, copied(store, held, PAIR)):
            overlaps.append([(str(c), str(i), int(n)) for c, i, n in lake.rows(OVERLAP)])
    clusters = [str(row[0]) for row in lake.rows("select distinct cluster_id from core__clusters")]
    chosen = ids.assign(clusters, overlaps[0], overlaps[1], lambda: ids.uuid7(now))
    members = pl.DataFrame(
        lake.rows("select record_id, cluster_id from core__clusters order by 1"), schema=MEMBER, orient="row"
    )
    names = pl.DataFrame(list(chosen.items()), schema=NAMED, orient="row")
    return members.join(names, on="cluster_id", maintain_order="left").select("record_id", "customer_id")
