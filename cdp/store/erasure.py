"""Erase customers from the store: what is theirs goes, what the books need stays under names that say nothing."""

from collections.abc import Callable
from datetime import datetime

import psycopg

from cdp.store import changes

Hash = Callable[[str, str], str]
GONE = (
    "payloads",
    "households",
    "interactions",
    "identifiers",
    "contact_records",
    "assignment",
    "consent_decisions",
    "notes",
)
NAMED = ("link_decisions", "review_pairs", "edges")


def erase(
    store: psycopg.Connection, customers: list[str], records: list[str], pseudonym: Hash, run_id: str, now: datetime
) -> None:
    """Inside a transaction: rows of these records go; the ledger and the history keep theirs under keyed hashes.

    Args:
        store: The owner's connection, in a transaction.
        customers: Who is erased.
        records: Their contact records.
        pseudonym: Keyed hash of (type, value).
        run_id: On whose behalf.
        now: When.
    """
    store.execute("select set_config('cdp.erasing', 'yes', true)")
    store.execute(
        "select 1 from customers where customer_id = any(%s::uuid[]) order by customer_id for update", [customers]
    )
    names = {record: f"erased:{pseudonym('account', record)[:24]}" for record in records}
    store.execute("create temporary table erased (record_id text primary key, name text not null) on commit drop")
    with store.cursor() as cursor, cursor.copy("copy erased from stdin") as copy:
        for pair in names.items():
            copy.write_row(pair)
    points = "select type, value from identifiers where record_id in (select record_id from erased)"
    store.execute(
        f"delete from unsubscribe_links l where (subject_type, subject) in ({points}) and not exists (select 1 from identifiers i "
        "where i.type = l.subject_type and i.value = l.subject and i.record_id not in (select record_id from erased))"
    )
    store.execute(
        "delete from consent_decisions d where d.subject_type <> 'record' and d.record_id not in (select record_id from assignment) "
        f"and (d.subject_type, d.subject) in ({points})"
    )
    _ledger(store, now)
    store.execute(
        "with recursive chain as (select customer_id from customers where customer_id = any(%s::uuid[]) "
        "union select c.customer_id from chain join customers c on c.merged_into = chain.customer_id) "
        "delete from idempotency_keys where answer ->> 'customer_id' in (select customer_id::text from chain)",
        [customers],
    )
    store.execute("update orders set record_id = null, row_hash = '' where record_id in (select record_id from erased)")
    for table in NAMED:
        store.execute(
            f"delete from {table} where left_id in (select record_id from erased) or right_id in (select record_id from erased)"
        )
    mixed = [
        row[0]
        for row in store.execute("select distinct customer_id from assignment join erased using (record_id)").fetchall()
    ]
    _history(store)
    for table in GONE:
        store.execute(f"delete from {table} where record_id in (select record_id from erased)")
    # a customer that only some records leave (after a restore) is published anew from the others
    store.execute(
        "delete from profiles where customer_id = any(%s::uuid[]) or customer_id = any(%s::uuid[])", [customers, mixed]
    )
    store.execute(
        "update customers set erased_at = %s, retired_at = coalesce(retired_at, %s) where customer_id = any(%s::uuid[])",
        [now, now, customers],
    )
    store.execute(  # audiences name no person; who follows them alone must hear of it
        "update changes set details = '{}' where customer_id = any(%s::uuid[]) and type not in ('audience.entered', 'audience.left')",
        [customers],
    )
    left = store.execute(
        "delete from audience_members where customer_id = any(%s::uuid[]) returning audience, customer_id::text",
        [customers],
    ).fetchall()
    for table in ("customer_tiers", "customer_scores"):
        store.execute(f"delete from {table} where customer_id = any(%s::uuid[])", [customers])
    changes.add(store, [("audience.left", customer, {"audience": name}) for name, customer in sorted(left)], now)
    changes.add(store, [("customer.erased", customer, {}) for customer in customers], now)


def locked_records(store: psycopg.Connection, customers: list[str]) -> set[str]:
    """The records that these customers have now; nobody moves one until the transaction ends."""
    store.execute(
        "select 1 from customers where customer_id = any(%s::uuid[]) order by customer_id for update", [customers]
    )
    query = "select record_id from assignment where customer_id = any(%s::uuid[])"
    return {str(row[0]) for row in store.execute(query, [customers])}


def _ledger(store: psycopg.Connection, now: datetime) -> None:
    """Accounts get another name and are closed; their entries, lots and deficits stay, so sums hold."""
    for column in ("posting_key", "reverses"):  # an opening balance is known by its record
        store.execute(
            f"update ledger_entries l set {column} = concat(a.programme, '|', a.unit, '|', e.name, '|opening') from ledger_accounts a "
            f"join erased e using (record_id) where l.{column} = concat(a.programme, '|', a.unit, '|', a.record_id, '|opening')"
        )
    store.execute(
        "update ledger_accounts a set account_id = a.programme || ':' || a.unit || ':' || e.name, record_id = e.name, closed_at = %s "
        "from erased e where a.record_id = e.record_id",
        [now],
    )
    store.execute(
        "update ledger_entries l set reason = '' from ledger_accounts a join erased e on e.name = a.record_id "
        "where l.account_id = a.account_id and l.actor not in ('pipeline', 'clock')"
    )
    store.execute(
        "update ledger_approvals t set decided_at = %s, decided_by = 'erasure', approved = false from erased e "
        "where t.record_id = e.record_id and decided_at is null",
        [now],
    )
    for table in ("ledger_holds", "ledger_approvals", "plan_events", "grants"):
        store.execute(
            f"update {table} t set record_id = e.name, reason = '' from erased e where t.record_id = e.record_id"
        )
    for table, column in (("circle_events", "record_id"), ("referral_codes", "record_id"), ("referrals", "referrer_record"), ("referrals", "referred_record"), ("till_allowances", "record_id")):  # fmt: skip
        store.execute(f"update {table} t set {column} = e.name from erased e where t.{column} = e.record_id")
    store.execute("update grants t set code = null from erased e where t.record_id = e.name")


def _history(store: psycopg.Connection) -> None:
    """Who was who stays countable, under names that say nothing; change sets lose the records they moved."""
    store.execute("update assignment_history h set record_id = e.name from erased e where h.record_id = e.record_id")
    store.execute(
        "update changesets c set reason = '', moves = (select coalesce(jsonb_agg(case when e.record_id is null then m "
        "else m || jsonb_build_object('record_id', e.name) end), '[]') from jsonb_array_elements(c.moves) m "
        "left join erased e on e.record_id = m ->> 'record_id') "
        "where exists (select 1 from jsonb_array_elements(c.moves) m join erased e on e.record_id = m ->> 'record_id')"
    )
