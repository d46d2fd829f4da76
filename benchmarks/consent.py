"""Consent at scale, in a lookup, and the price of the audit trail.

    CDP_HOME=<a workspace that was run> python -m benchmarks.consent [--customers 1000000] [--calls 600]

Three figures: the batch of effective consent over a million customers against one scan that finds each subject's latest
decision; effective consent against the whole lookup it is part of; lookups with the audit trail against lookups without.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from fastapi.testclient import TestClient

from api import present
from api.app import create_app
from cdp.clock import system_now
from cdp.consent import tables
from cdp.consent.customers import flags
from cdp.consent.policy import Policy, load_policy
from cdp.lake.build import sql_file
from cdp.settings import Settings
from cdp.store import consents, keys
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace

RESULT = Path(__file__).parent / "results" / "consent.json"
PER = 2.4  # decisions a customer, over several records, points and purposes
SCAN = """
    create or replace table latest as select * from core__consent_decisions
    qualify row_number() over (partition by subject, purpose order by captured_at desc, decision_id desc) = 1
"""


def batch(customers: int, policy: Policy) -> dict[str, Any]:
    """Seconds of the flags of so many customers, and of one scan over the same decisions."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as engine:
        engine.execute("set timezone = 'UTC'; set threads = 2; set memory_limit = '2GB'")
        engine.execute(f"set temp_directory = '{folder}'")
        _people(engine, customers, policy)
        started = time.perf_counter()
        engine.execute(SCAN)
        scan = time.perf_counter() - started
        started = time.perf_counter()
        engine.execute(
            f"create table core__customer_jurisdictions as {sql_file('consent', 'core__customer_jurisdictions').sql}"
        )
        engine.execute(f"create table flags as {flags().sql}", {"now": system_now()})
        flagged = time.perf_counter() - started
        rows, decisions = (
            engine.execute(f"select count(*) from {t}").fetchall()[0][0] for t in ("flags", "core__consent_decisions")
        )
    return {
        "customers": customers,
        "decisions": decisions,
        "flags": rows,
        "seconds": round(flagged, 2),
        "scan_seconds": round(scan, 2),
        "ratio": round(flagged / scan, 2),
    }


def _people(engine: duckdb.DuckDBPyConnection, customers: int, policy: Policy) -> None:
    """Two records a customer, an e-mail each, a phone between them, of three countries."""
    engine.execute(
        f"create table core__record_customers as select 'r' || i as record_id, 'c' || i // 2 as customer_id from range({2 * customers}) t(i)"
    )
    engine.execute(
        "create table core__clusters as select record_id, case when hash(record_id) % 20 = 0 then 7.0 else 99.0 end as link_weight from core__record_customers"
    )
    engine.execute(
        "create table core__contact_records as select record_id, list_extract(['GB', 'CN', 'US', null], cast(1 + hash(record_id, 1) % 4 as bigint)) as country from core__record_customers"
    )
    engine.execute(
        "create table core__record_identifiers as select record_id, 'email' as type, record_id || '@x.org' as value, false as blocked from core__record_customers "
        "union all select record_id, 'phone', '+44' || customer_id, false from core__record_customers"
    )
    engine.execute(
        f"""
        create table core__consent_decisions as
        with said as (
            select i, 'r' || hash(i, 7) % {2 * customers} as record_id,
                list_extract(['email_marketing', 'sms_marketing', 'analytics', 'sale_or_sharing', 'personalisation'], cast(1 + hash(i, 2) % 5 as bigint)) as purpose
            from range({int(PER * customers)}) t(i)
        )
        select 'd' || i as decision_id, record_id,
            case when purpose = 'email_marketing' and hash(i, 3) % 3 > 0 then 'email' else 'record' end as subject_type,
            case when purpose = 'email_marketing' and hash(i, 3) % 3 > 0 then record_id || '@x.org' else record_id end as subject,
            purpose, list_extract(['granted', 'granted', 'denied', 'withdrawn', 'pending'], cast(1 + hash(i, 4) % 5 as bigint)) as status,
            timestamptz '2025-01-01' + cast(hash(i, 5) % 300 as int) * interval 1 day as captured_at, timestamptz '2025-01-01' as received_at,
            'consent' as basis, null::timestamptz as expires_at, null::timestamptz as confirmed_at, null::varchar as separate_consent, true as is_explicit
        from said
        """
    )
    for table, rows in {
        "core__consent_rules": tables._rules,
        "core__jurisdiction_countries": tables._countries,
    }.items():
        schema, values = rows(policy)
        engine.register("rows", pl.DataFrame(values, schema=schema, orient="row").to_arrow())
        engine.execute(f"create table {table} as from rows")


def lookups(workspace: Workspace, calls: int) -> dict[str, Any]:
    """Medians in milliseconds: the whole lookup, consent within it; and lookups a second with and without the trail."""
    policy, now = load_policy(workspace), system_now()
    with connect(owner_address(workspace)) as store:
        rows = store.execute(
            "select i.value, a.customer_id::text from identifiers i join assignment a using (record_id) where i.type = 'email' order by md5(i.value) limit %s",
            [calls],
        ).fetchall()
        text = keys.create(store, workspace.secrets["pepper"], f"bench-{now:%H%M%S%f}", ["profiles:read"], now)
        store.execute("set plan_cache_mode = auto")
        spent = []
        for _, customer in rows:
            started = time.perf_counter()
            known = consents.materials(store, [customer])[customer]
            present.flags(known, policy, now, revealed=False)
            spent.append(time.perf_counter() - started)
    headers = {"Authorization": f"Bearer {text}"}
    with TestClient(create_app(workspace.settings)) as client:
        trail = client.app.state.context.trail  # type: ignore[attr-defined]
        note, took = trail.note, {"on": [], "off": []}

        def ask(address: str) -> float:
            started = time.perf_counter()
            assert client.post("/v1/customers/lookup", json={"value": address}, headers=headers).status_code == 200
            return time.perf_counter() - started

        for address, _ in rows[:50]:
            ask(address)
        for number, (address, _) in enumerate(rows * 2):
            mode = "on" if number // 25 % 2 else "off"  # blocks of each, alternating: both see the same machine
            trail.note = note if mode == "on" else lambda event: None
            took[mode].append(ask(address))
        trail.note = note
    on, off = (statistics.mean(sorted(took[m])[: int(len(took[m]) * 0.95)]) for m in ("on", "off"))
    return {
        "calls": len(rows), "lookup_ms": round(statistics.median(took["on"]) * 1000, 2), "consent_ms": round(statistics.median(spent) * 1000, 3),
        "audit_throughput_loss": round(1 - off / on, 4),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=600)
    given = parser.parse_args()
    workspace = open_workspace(Settings())
    with database(workspace):
        found = {"batch": batch(given.customers, load_policy(workspace)), "lookup": lookups(workspace, given.calls)}
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
