"""A store with as many published profiles as asked for: a simulated town, brought through the pipeline, copied many times over.

A copy is another person: ids, records, identifiers, accounts and decisions carry its number; what a profile, a consent
or a ledger looks like stays as the pipeline made it.
"""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import psycopg

from cdp.simulate.write import simulate
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

CUSTOMER, RECORD, ACCOUNT = "md5(customer_id::text || '{n}')::uuid", "record_id || '-{n}'", "account_id || '-{n}'"
TRANSACTION = "md5(transaction_id::text || '{n}')::uuid"
CHANGED = {
    "customers": {"customer_id": CUSTOMER, "merged_into": "null"},
    "profiles": {"customer_id": CUSTOMER},
    "contact_records": {"record_id": RECORD, "source_key": "source_key || '-{n}'"},
    "assignment": {"record_id": RECORD, "customer_id": CUSTOMER},
    "identifiers": {"record_id": RECORD, "value": "'{n}' || value"},
    "consent_decisions": {
        "decision_id": "decision_id || '-{n}'", "record_id": RECORD,
        "subject": "case subject_type when 'record' then subject || '-{n}' else '{n}' || subject end",
    },
    "ledger_accounts": {"account_id": ACCOUNT, "record_id": RECORD},
    "ledger_entries": {"entry_id": "md5(entry_id::text || '{n}')::uuid", "account_id": ACCOUNT, "transaction_id": TRANSACTION, "posting_key": "posting_key || '-{n}'"},
    "ledger_lots": {"lot_id": "md5(lot_id::text || '{n}')::uuid", "account_id": ACCOUNT, "transaction_id": TRANSACTION},
    "ledger_deficits": {"account_id": ACCOUNT, "transaction_id": TRANSACTION},
}  # fmt: skip
COLUMNS = (
    "select column_name from information_schema.columns where table_schema = 'store' and table_name = %s and is_identity = 'NO' "
    "order by ordinal_position"
)


def town(made: Workspace) -> None:
    """Simulate some people and bring them through the pipeline."""
    simulate(250, "11", made.home, datetime.now(UTC) - timedelta(days=1))
    subprocess.run([sys.executable, "-m", "cdp", "run"], env=os.environ | {"CDP_HOME": str(made.home)}, check=True)


def multiply(made: Workspace, profiles: int) -> int:
    """Copy what was published until there are so many profiles; returns how many there are."""
    count = "select count(*) from profiles"
    with connect(owner_address(made)) as store:
        store.execute("set session_replication_role = replica")  # no foreign keys: all copies come in whole
        copies = [_copy(store, table, changed) for table, changed in CHANGED.items()]
        there, began = int(store.execute(count).fetchall()[0][0]), time.monotonic()
        for n in range(1, -(-profiles // there)):
            for text in copies:
                store.execute(text.replace("{n}", str(1000 + n)))
            if n % 100 == 0:
                print(f"{(n + 1) * there:,} profiles, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        store.execute("set session_replication_role = origin")
        store.execute("vacuum analyze")
        return int(store.execute(count).fetchall()[0][0])


def _copy(store: psycopg.Connection, table: str, changed: dict[str, str]) -> str:
    """The statement that makes copy {n} of a table's rows as they are now."""
    store.execute(f"create temp table town_{table} as select * from {table}")
    names = [row[0] for row in store.execute(COLUMNS, [table]).fetchall()]
    return f"insert into {table} ({', '.join(names)}) select {', '.join(changed.get(n, n) for n in names)} from town_{table}"
