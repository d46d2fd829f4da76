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
    "programme_version": pl.String, "reason": pl.String, "actor": pl.String, "contra": pl.String,
}  # fmt: skip
QUERY = """
    select e.entry_id::text, account_id, record_id, programme, unit, kind, amount, occurred_at, posted_at, posting_key,
        revision, order_id, original_order_id, programme_version, reason, actor, contra
    from ledger_entries e join ledger_accounts using (account_id) order by e.entry_id
"""


def build_entries(lake: Lake, store: psycopg.Connection) -> build.Built:
    """`core__ledger_entries`: grain = ledger entry."""
    size = store.execute("select count(*), coalesce(max(posted_at)::text, '') from ledger_entries").fetchall()
    mark = build.fingerprint(lake, (), size, "entries 2")
    return build.build_table(
        lake,
        TABLE,
        mark,
        lambda: pl.DataFrame(store.execute(QUERY).fetchall(), schema=COLUMNS, orient="row").to_arrow(),
    )


LOTS: dict[str, Any] = {
    "lot_id": pl.String, "record_id": pl.String, "programme": pl.String, "unit": pl.String, "amount": pl.Int64, "remaining": pl.Int64,
    "earned_at": pl.Datetime("us", "UTC"), "opened_at": pl.Datetime("us", "UTC"), "expires_at": pl.Datetime("us", "UTC"), "is_restored": pl.Boolean,
}  # fmt: skip
LOT_ROWS = """
    select lot_id::text, record_id, programme, unit, amount, remaining, occurred_at, l.opened_at, expires_at, origin is not null
    from ledger_lots l join ledger_accounts using (account_id) order by lot_id
"""
DRAWS: dict[str, Any] = {
    "lot_id": pl.String, "transaction_id": pl.String, "amount": pl.Int64, "occurred_at": pl.Datetime("us", "UTC"), "contra": pl.String,
}  # fmt: skip
DRAW_ROWS = """
    select lot_id::text, d.transaction_id::text, d.amount, e.occurred_at, e.contra from ledger_allocations d
    join (select transaction_id, min(occurred_at) as occurred_at, min(contra) as contra from ledger_entries group by 1) e using (transaction_id)
    order by 1, 2
"""


def build_lots(lake: Lake, store: psycopg.Connection) -> build.Built:
    """`core__ledger_lots`: grain = lot. What is left of each credit, and when it ends."""
    return _read(lake, store, "core__ledger_lots", LOT_ROWS, LOTS)


def build_draws(lake: Lake, store: psycopg.Connection) -> build.Built:
    """`core__ledger_draws`: grain = debit × lot it drew from."""
    return _read(lake, store, "core__ledger_draws", DRAW_ROWS, DRAWS)


@build.timed
def _read(lake: Lake, store: psycopg.Connection, table: str, query: str, schema: dict[str, Any]) -> build.Built:
    """A table of the store as it is now; derived rows change without an entry, so their content is what counts."""
    rows = pl.DataFrame(store.execute(query).fetchall(), schema=schema, orient="row")
    mark = build.fingerprint(lake, (), rows.height, rows.hash_rows().sum() if rows.height else 0, "1")
    return build.build_table(lake, table, mark, rows.to_arrow)
