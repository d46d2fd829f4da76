"""The ledger's entries read back into the lake: the store is their authority, the lake their history."""

from collections.abc import Mapping

import psycopg
import pyarrow as pa

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.lake.register import summed
from cdp.store.copied import FLAG, NUMBER, TEXT, TIME, copied

TABLE = "core__ledger_entries"
COLUMNS = {
    "entry_id": TEXT, "account_id": TEXT, "record_id": TEXT, "programme": TEXT, "unit": TEXT, "kind": TEXT, "amount": NUMBER,
    "occurred_at": TIME, "posted_at": TIME, "posting_key": TEXT, "revision": NUMBER, "order_id": TEXT, "original_order_id": TEXT,
    "programme_version": TEXT, "reason": TEXT, "actor": TEXT, "contra": TEXT,
}  # fmt: skip
QUERY = """
    select e.entry_id, account_id, record_id, programme, unit, kind, amount, occurred_at, posted_at, posting_key,
        revision, order_id, original_order_id, programme_version, reason, actor, contra
    from ledger_entries e join ledger_accounts using (account_id) order by e.entry_id
"""


def build_entries(lake: Lake, store: psycopg.Connection) -> build.Built:
    """`core__ledger_entries`: grain = ledger entry."""
    size = store.execute("select count(*), coalesce(max(posted_at)::text, '') from ledger_entries").fetchall()
    mark = build.fingerprint(lake, (), size, "entries 2")
    return build.build_table(lake, TABLE, mark, lambda: copied(store, QUERY, COLUMNS))


LOTS = {
    "lot_id": TEXT, "record_id": TEXT, "programme": TEXT, "unit": TEXT, "amount": NUMBER, "remaining": NUMBER, "earned_at": TIME,
    "opened_at": TIME, "expires_at": TIME, "is_restored": FLAG,
}  # fmt: skip
LOT_ROWS = """
    select lot_id, record_id, programme, unit, amount, remaining, occurred_at, l.opened_at, expires_at, origin is not null
    from ledger_lots l join ledger_accounts using (account_id) order by lot_id
"""
DRAWS = {"lot_id": TEXT, "transaction_id": TEXT, "amount": NUMBER, "occurred_at": TIME, "contra": TEXT}
DRAW_ROWS = """
    select lot_id, d.transaction_id, d.amount, e.occurred_at, e.contra from ledger_allocations d
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
def _read(
    lake: Lake, store: psycopg.Connection, table: str, query: str, columns: Mapping[str, pa.DataType]
) -> build.Built:
    """A table of the store as it is now; derived rows change without an entry, so their content is what counts."""
    rows = copied(store, query, columns)
    with build.incoming(lake, rows):
        content = summed(lake, "incoming")
    mark = build.fingerprint(lake, (), content, "2")
    return build.build_table(lake, table, mark, lambda: rows)
