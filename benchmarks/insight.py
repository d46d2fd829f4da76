"""Everything of insight over a million customers and twenty million orders, simulated, in 8 GB.

    python -m benchmarks.insight [--customers 1000000] [--orders 20000000]

The baseline is one plain aggregate over the same orders (customers, orders, money) in the same lake and run. Writes results/insight.json.
"""

import argparse
import json
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from cdp.cli.pipeline import initialise
from cdp.insight.rules import Insight
from cdp.insight.stage import Measuring, in_order, make
from cdp.lake.engine import Lake, open_lake
from cdp.lake.register import record
from cdp.lake.tables import create_registers
from cdp.service import Service
from cdp.settings import Settings
from cdp.store.connect import database

RESULT = Path(__file__).parent / "results" / "insight.json"
NOW = datetime(2026, 7, 1, tzinfo=UTC)
RULES = Insight.model_validate({"version": "b", "currency": "GBP", "funnel": {"visit": ["page"], "product": ["Product Viewed"], "basket": ["Product Added"]}})
MEMORY = "6GB"  # of DuckDB, so that the process stays within eight
PEOPLE = """
    select 'c' || i as customer_id, 0.4 + 1.6 * (hash(i, 1) % 1000) / 1000.0 as rate, (hash(i, 2) % 700)::int as came, 30 + (hash(i, 3) % 900)::int as stays
    from range({customers}) t(i)
"""
# Each customer buys at a rate of their own from the day they came until they stop: as many orders as asked for, on average.
ORDERS = """
    select source || ':' || n as order_id, source, n::varchar as order_key, customer_id as record_id, case when hash(n, 9) % 20 = 0 then 'return' else 'sale' end as kind,
        timestamptz '2026-07-01 00:00:00+00' - to_seconds(86400 * (730 - least(729, came + stays * (hash(n, 4) % 100000) / 100000.0)) - (hash(n, 5) % 86400)) as ordered_at,
        'GBP' as currency, ((case when hash(n, 9) % 20 = 0 then -1 else 1 end) * (5 + (hash(n, 6) % 20000) / 100.0))::decimal(28, 4) as total,
        1 + (hash(n, 8) % 4)::bigint as lines, null::bigint as points_redeemed, null::varchar as original_key, null::varchar as original_order_id
    from (select n, ['web', 'app', 'pos'][1 + (hash(n, 7) % 3)::int] as source, 'c' || (hash(n, 0) % {customers}) as customer_id from range({orders}) t(n))
    join people using (customer_id)
"""
TOUCHES = """
    select 'i' || n as interaction_id, 'c' || (hash(n, 10) % {customers}) as record_id, ['web', 'app', 'service'][1 + (hash(n, 11) % 3)::int] as source,
        case when hash(n, 11) % 3 = 2 then 'ticket' else ['page', 'Product Viewed', 'Product Added', 'Product Shared'][1 + (hash(n, 12) % 4)::int] end as kind,
        timestamptz '2026-07-01 00:00:00+00' - to_seconds((hash(n, 13) % 63072000)) as occurred_at, null::varchar as order_key, null::varchar as order_id,
        null::varchar as order_record_id, case when hash(n, 11) % 3 = 2 and hash(n, 14) % 10 = 0 then '{{"nps": "' || (hash(n, 15) % 11) || '", "description": "' ||
        ['物流太慢，很失望', 'great service, thanks', 'the parcel arrived damaged', '质量很好，满意'][1 + (hash(n, 15) % 4)::int] || '"}}' else '{{}}' end as details
    from range({touches}) t(n)
"""


def write(lake: Lake, table: str, query: str) -> None:
    """A table of the lake, as the pipeline would have made it."""

    def made() -> None:
        lake.connection.execute(f"create or replace table lake.main.{table} as {query}")
        record(lake, table, "bench", {})

    lake.write(made, f"bench {table}")


def fill(lake: Lake, customers: int, orders: int) -> None:
    """What insight reads."""
    lake.connection.execute(f"create table memory.main.people as {PEOPLE.format(customers=customers)}")
    write(lake, "core__orders", ORDERS.format(customers=customers, orders=orders))
    write(lake, "core__order_lines", "select order_id, 1 as line_no, 'X' as sku, 'X' as name, 1 as quantity, total as unit_price, case when hash(order_id) % 8 = 0 then 1 else 0 end::decimal(28, 4) as discount, total as amount from core__orders")
    write(lake, "core__record_customers", "select customer_id as record_id, customer_id from memory.main.people")
    write(lake, "core__customers", "select customer_id, 'known' as kind from memory.main.people")
    write(lake, "core__customer_tiers", "select customer_id, 'gold' as level from memory.main.people where hash(customer_id) % 10 = 0")
    write(lake, "core__interactions", TOUCHES.format(customers=customers, touches=orders // 10))
    lake.connection.execute("drop table memory.main.people")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=20_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = initialise(Settings(home=Path(folder) / "home"))
        with database(workspace), open_lake(workspace, run_id="bench") as lake:
            create_registers(lake)
            lake.connection.execute(f"set memory_limit = '{MEMORY}'")
            fill(lake, asked.customers, asked.orders)
            print("filled", flush=True)
            began = time.monotonic()
            lake.rows("select record_id, count(*), sum(total), min(ordered_at), max(ordered_at) from core__orders group by 1 having count(*) < 0")
            baseline, seconds = time.monotonic() - began, {}
            measuring = Measuring(lake, RULES, Service(version="b"), "GBP", NOW)
            began = time.monotonic()
            for table in in_order():
                start = time.monotonic()
                built = make(measuring, table)
                seconds[table] = round(time.monotonic() - start, 2)
                print(f"{table:32} {seconds[table]:8.2f} s {built.rows:12,} rows", flush=True)
            whole = time.monotonic() - began
            cards = dict(lake.rows("select model, is_trusted from ops__model_cards"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {"customers": asked.customers, "orders": asked.orders, "seconds": round(whole, 1), "plain aggregate, seconds": round(baseline, 2),
              "ratio": round(whole / baseline, 1), "peak GB": round(peak, 2), "trusted": cards, "tables": dict(sorted(seconds.items(), key=lambda p: -p[1])[:15])}  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
