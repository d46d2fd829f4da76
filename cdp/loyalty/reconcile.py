"""Every night's books: Σ open lots − Σ deficits = balance = Σ entries in every account, and every order earned or says why not."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import psycopg

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.loyalty.groups import locked
from cdp.loyalty.posting import rederive
from cdp.loyalty.programme import Programme
from cdp.store import books

TABLE = "ops__loyalty_reconciliation"
BATCH = 500
SCHEMA = {"measure": pl.String, "count": pl.Int64, "ok": pl.Boolean}
SILENT_ORDERS = """
    select count(*) from core__orders as o anti join core__loyalty_targets as t on t.order_id = o.order_id
"""
UNPOSTED = """
    with wanted as (
        select posting_key, sum(amount) as amount from core__loyalty_targets where record_id is not null group by posting_key
    ), posted as (
        select posting_key, sum(amount) as amount from core__ledger_entries group by posting_key
    )
    select count(*) from wanted as w left join posted as p using (posting_key) where w.amount <> coalesce(p.amount, 0)
"""


@dataclass(frozen=True)
class Reconciled:
    """What the books said.

    Attributes:
        mended: Accounts whose derived rows did not add up and were derived again.
        wrong: Accounts that do not add up even then.
    """

    mended: int
    wrong: int


def expire(store: psycopg.Connection, programme: Programme, now: datetime) -> int:
    """Write off what has ended; availability does not wait for it. Returns how many entries that were."""
    written = 0
    for unit in programme.units:
        seen = programme.of(unit.code)
        found = books.due(store, seen.programme, seen.unit, now)
        if seen.moves_ends:  # what a level held may end when somebody becomes another customer
            found = sorted({*found, *books.moved_since(store, seen.programme, seen.unit)})
        written += _again(store, found, seen, now)
    return written


def mend(store: psycopg.Connection, programme: Programme, now: datetime, log: Callable[[str], None]) -> Reconciled:
    """Derive again whatever does not add up: what is derived is never the truth, so this loses nothing."""
    mended = wrong = 0
    for unit in programme.units:
        seen = programme.of(unit.code)
        found = books.unbalanced(store, seen.programme, seen.unit)
        if found:
            log(f"{len(found)} accounts in {unit.code} do not add up: their lots are derived again from their entries")
            _again(store, found, seen, now, recount=True)
        mended, wrong = mended + len(found), wrong + len(books.unbalanced(store, seen.programme, seen.unit))
    return Reconciled(mended, wrong)


def _again(
    store: psycopg.Connection, records: list[str], programme: Programme, now: datetime, *, recount: bool = False
) -> int:
    written = 0
    for start in range(0, len(records), BATCH):
        with store.transaction():
            groups = locked(store, records[start : start + BATCH], programme, now)
            written += rederive(store, list({id(group): group for group in groups.values()}.values()), programme, now)
            if recount:  # under the same locks: nobody posts in between
                books.recount(store, list(groups), programme.programme, programme.unit)
    return written


def build_reconciliation(lake: Lake, found: Reconciled) -> tuple[build.Built, list[tuple[str, int, bool]]]:
    """`ops__loyalty_reconciliation`: grain = measure of this run; also its rows (measure, count, whether that is well)."""
    silent, owed = (
        0 if build.is_empty(lake, table) else int(lake.scalar(query))
        for table, query in (("core__orders", SILENT_ORDERS), ("core__loyalty_targets", UNPOSTED))
    )
    rows = [
        ("accounts derived again", found.mended, True),
        ("accounts that do not add up", found.wrong, found.wrong == 0),
        ("orders without an earning or a reason", silent, silent == 0),
        ("postings owed and not posted", owed, owed == 0),
    ]
    mark = build.fingerprint(lake, (), rows)
    built = build.build_table(lake, TABLE, mark, lambda: pl.DataFrame(rows, schema=SCHEMA, orient="row").to_arrow())
    return built, rows
