"""The ledger's entries read back into the lake: the store is their authority, the lake their history."""

from typing import Any

import polars as pl
import psycopg

from cdp.lake import build
from cdp.lake.engine import Lake

TABLE = "core__ledger_entries"
COLUMNS: dict[str, Any] = {
    "entry_id": pl.String, "account_id": pl.String, "record_id": pl.String, "programme": pl.String, "unit": pl.String,
    "kind": pl.String, "amount": pl.Int64, "occurred_at": pl.Datetime("us", "UTC"), "posted_at": pl.Datetime("us", "UTC"),
    "posting_key": pl.String, "revision": pl.Int64, "order_id": pl.String, "original_order_id": pl.String,
    "programme_version": pl.String, "reason": pl.String, "actor": pl.String,
}  # fmt: skip
QUERY = """
    select e.entry_id::text, account_id, record_id, programme, unit, kind, amount, occurred_at, posted_at, posting_key,
        revision, order_id, original_order_id, programme_version, reason, actor
    from ledger_entries e join ledger_accounts using (account_id) order by e.entry_id
"""


def build_entries(lake: Lake, store: psycopg.Connection) -> build.Built:
    """`core__ledger_entries`: grain = ledger entry."""
    size = store.execute("select count(*), coalesce(max(posted_at)::text, '') from ledger_entries").fetchall()
    mark = build.fingerprint(lake, (), size, "entries 1")
    return build.build_table(
        lake,
        TABLE,
        mark,
        lambda: pl.DataFrame(store.execute(QUERY).fetchall(), schema=COLUMNS, orient="row").to_arrow(),
    )
