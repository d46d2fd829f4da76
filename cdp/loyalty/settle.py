"""Bring the ledger to what the orders say: post the difference between target and posted, once each."""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

import psycopg

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.loyalty.orders import posting
from cdp.loyalty.posting import post
from cdp.loyalty.programme import Programme
from cdp.store import changes
from cdp.store.copied import FLAG, NUMBER, TEXT, TIME, copied

BATCH = 1000
COLUMNS = {
    "posting_key": TEXT, "record_id": TEXT, "amount": NUMBER, "revision": NUMBER, "kind": TEXT, "order_id": TEXT,
    "original_order_id": TEXT, "occurred_at": TIME, "is_pipelines": FLAG,
}  # fmt: skip
POSTED = """
    with mine as (
        select e.*, a.record_id, a.closed_at, bool_or(a.closed_at is null) over (partition by e.posting_key) as is_alive
        from ledger_entries e join ledger_accounts a using (account_id)
        where starts_with(e.posting_key, a.programme || '|' || a.unit || '|') and a.programme = %s and a.unit = %s
    )
    select posting_key, record_id, sum(amount)::bigint, max(revision), coalesce(min(kind) filter (where revision = 0 and kind <> 'reversal'), 'adjust'),
        min(order_id), min(original_order_id), min(occurred_at), bool_or(actor = 'pipeline')
    from mine
    -- what touches several accounts is compared as a whole, the closed ones of erased people among them
    where is_alive and (closed_at is null or posting_key like '%%|redeem' or posting_key like '%%|restore')
    group by posting_key, record_id
"""
DIFFERENCES = """
    with posted as (
        select * from incoming
    ), revisions as (
        select posting_key, max(revision) as revision, sum(amount) as amount from posted group by posting_key
    ), targets as (
        select * exclude (document, rests_on) from core__loyalty_targets
    ), wanted as (
        from targets where record_id is not null and unit = $unit
    ), owed as (
        select w.*, w.amount - coalesce(p.amount, 0) as difference
        from wanted w left join posted p on p.posting_key = w.posting_key and p.record_id = w.record_id
        where w.kind not in ('redeem', 'restore')
        union all
        -- what touches several accounts is compared as a whole
        select w.*, w.amount - coalesce(r.amount, 0) as difference
        from wanted w left join revisions r using (posting_key) where w.kind in ('redeem', 'restore')
        union all
        select w.* replace (p.record_id as record_id, 0 as amount, 'order_moved' as reason), -p.amount as difference
        from posted p join targets w using (posting_key)
        where w.kind not in ('redeem', 'restore') and w.record_id is distinct from p.record_id
        union all
        -- the order is still there, but no longer posts this: a return that a late line made a sale, points not redeemed
        select p.posting_key, $unit, p.order_id, p.original_order_id, p.record_id, coalesce(p.kind, 'adjust'), 0, p.occurred_at,
            'order_changed', null, -p.amount as difference
        from posted p join core__orders o on o.order_id = p.order_id
        anti join targets w on w.posting_key = p.posting_key
        where p.is_pipelines  -- what a channel redeemed for an order stands, whether or not its file says so
    )
    select o.*, coalesce(r.revision + 1, 0) as revision, coalesce(c.customer_id, o.record_id) as customer_id
    from owed o left join revisions r using (posting_key)
    left join core__record_customers c on c.record_id = o.record_id
    where o.difference <> 0
    order by customer_id, o.occurred_at, o.posting_key, o.record_id
"""


def settle(
    lake: Lake,
    store: psycopg.Connection,
    programme: Programme,
    now: datetime,
    log: Callable[[str], None] | None = None,
) -> int:
    """Post what is owed, unit by unit and customer by customer, in transactions of about a thousand postings.

    Units that decide a level come first: what follows the level is then looked at with them.

    Returns:
        Entries written.
    """
    written = 0
    seen = sorted((programme.of(unit.code) for unit in programme.units), key=lambda each: not each.follows)
    for each in seen:
        for number, batch in enumerate(_batches(_owed(lake, store, each))):
            with store.transaction():
                written += post(store, [posting(row, each) for row in batch], each, now)
                _tell(store, sorted({row["record_id"] for row in batch}), now)
            if log and number % 20 == 19:
                log(f"{written:,} ledger entries posted")
    return written


def _tell(store: psycopg.Connection, records: list[str], now: datetime) -> None:
    """The feed learns whose balance changed, in the transaction that changed it."""
    query = "select distinct customer_id::text from assignment where record_id = any(%s) order by 1"
    changes.add(store, [("balance.changed", row[0], {}) for row in store.execute(query, [records])], now)


def _owed(lake: Lake, store: psycopg.Connection, programme: Programme) -> list[dict[str, Any]]:
    posted = copied(store, POSTED, COLUMNS, [programme.programme, programme.unit])
    if not len(posted) and build.is_empty(lake, "core__loyalty_targets"):
        return []
    with build.incoming(lake, posted):
        return lake.records(DIFFERENCES, {"unit": programme.unit})


def _batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Whole customers together, so that a redemption sees what was earned before it."""
    batch: list[dict[str, Any]] = []
    for _, items in groupby(rows, key=lambda row: row["customer_id"]):
        batch += items
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
