"""The last step of an erasure: what engines keep behind of deleted rows is removed, then the requests end."""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from cdp.errors import Busy
from cdp.lake.maintain import expire, remove_orphans
from cdp.privacy import requests as domain
from cdp.privacy.erase import PURGE_MODELS, Job
from cdp.privacy.trail import tell
from cdp.store import releases, requests
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

PATIENCE = 60.0  # seconds, for a table's lock and for older transactions: readers are brief
PAUSE = 0.2
TRIES = 3
YOUNG = "other work deleted rows while tables were written anew; the server removes them in its own time"
STATISTICS = "statistics of tables that are empty now may keep values that were deleted (PostgreSQL 18 forgets them)"
HIDDEN = "older transactions of other roles were not seen and may have kept deleted rows (grant pg_read_all_stats to the owner)"
# What still sees rows that were deleted before `mark`: PostgreSQL keeps them, also when a table is written anew.
OLDER = """
select coalesce('process ' || pid, 'session') || ' of ' || coalesce(usename, backend_type) from pg_stat_activity
where pid <> pg_backend_pid() and (age(backend_xid) >= age(%(mark)s::xid)
    or coalesce(datname, current_database()) = current_database() and age(backend_xmin) >= age(%(mark)s::xid))
union all select 'prepared transaction ' || gid from pg_prepared_xacts where age(transaction) >= age(%(mark)s::xid)
union all select 'replication slot ' || slot_name from pg_replication_slots
where greatest(age(xmin), age(catalog_xmin)) >= age(%(mark)s::xid)
"""


def finish(job: Job) -> int:
    """Purge where an erasure runs, and end its requests; returns how many ended."""
    job.workspace.path("privacy", PURGE_MODELS).unlink(missing_ok=True)
    running = requests.listed(job.store, ["running"], "erasure")
    if not running:
        return 0
    cleared = _logs(job.workspace)
    left = sweep(job)
    for row in running:
        for system, details in (("models", {}), ("logs", {"files": cleared})):
            requests.set_step(job.store, row["request_id"], system, "done", job.now, details)
        unread = [
            name
            for step in requests.steps(job.store, row["request_id"])
            for name in step["details"].get("unreadable files left", [])
        ]
        notes = [left] if left else []
        notes += [f"files that could not be read were left: {', '.join(unread)}"] if unread else []
        domain.finish(job.store, row["request_id"], "; ".join(["erased", *notes]), job.now)
        about = {"request": str(row["request_id"])}
        tell(job.workspace, job.store, "privacy.erased", about, job.now, customer_id=str(row["customer_id"]))
    rewrite_wal(job.workspace)
    return len(running)


def sweep(job: Job) -> str:
    """Remove what lake and store keep behind of deleted rows; returns what could not be done, in words."""
    snapshot = job.lake.snapshot()
    releases.forget_before(job.store, snapshot)
    expire(job.lake, [snapshot])
    remove_orphans(job.lake)
    job.lake.roll_back()
    return rewrite_store(job.workspace)


def rewrite_store(workspace: Workspace) -> str:
    """Write every table of the database anew, without dead rows; statistics too. Returns what could not be done, in words."""
    left = []
    with connect(owner_address(workspace)) as store:
        store.execute(f"set lock_timeout = '{PATIENCE:.0f}s'")
        store.execute("set statement_timeout = 0")
        left.append(_new_statistics(store))
        left.append(_without_dead_rows(store))
        hidden = store.execute("select 1 from pg_stat_activity where query = '<insufficient privilege>'").fetchall()
        left.append(HIDDEN if hidden else "")
    return "; ".join(filter(None, [*left, rewrite_wal(workspace)]))


def _new_statistics(store: psycopg.Connection[Any]) -> str:
    """The planner's samples hold values; `analyze` replaces them, but not those of a table that is empty now."""
    ours = "from pg_stats where schemaname not in ('pg_catalog', 'information_schema')"
    forgets = store.info.server_version >= 180000
    if forgets:
        store.execute(f"select pg_clear_attribute_stats(schemaname, tablename, attname, inherited) {ours}")
    store.execute("analyze")
    empty = "and exists (select 1 from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = schemaname and relname = tablename and reltuples <= 0)"
    return STATISTICS if not forgets and store.execute(f"select 1 {ours} {empty} limit 1").fetchall() else ""


def _without_dead_rows(store: psycopg.Connection[Any]) -> str:
    """The server says of each table how many dead rows it had to keep because somebody may still see them."""
    kept: list[int] = []
    store.add_notice_handler(lambda told: kept.append(_dead(told.message_detail or "")))
    for _ in range(TRIES):
        _wait_for_older(store)
        kept.clear()
        store.execute("vacuum (full, verbose)")
        if not sum(kept):
            return ""
        time.sleep(PAUSE)
    return YOUNG


def _dead(detail: str) -> int:
    """How many dead rows were kept, whatever language the server speaks: "0 dead row versions cannot be removed yet.\""""
    number = re.match(r"\D*(\d+)", detail)
    return int(number[1]) if number else 0


def _wait_for_older(store: psycopg.Connection[Any]) -> None:
    """Wait until nothing that began before now can still see what was deleted: a rewrite would keep those rows."""
    mark = store.execute("select pg_current_xact_id()::xid::text").fetchall()[0][0]
    end = time.monotonic() + PATIENCE
    while older := [row[0] for row in store.execute(OLDER, {"mark": mark}).fetchall()]:
        if time.monotonic() > end:
            raise Busy(
                f"deleted rows cannot be removed while older transactions are open: {', '.join(older)}",
                "end them; the next run finishes the erasure",
            )
        time.sleep(PAUSE)


def rewrite_wal(workspace: Workspace) -> str:
    """Leave the write-ahead log behind: what it held of deleted rows is unlinked at the checkpoint."""
    with connect(owner_address(workspace)) as store:
        try:
            for _ in range(2):
                store.execute("select pg_switch_wal()")
                store.execute("checkpoint")
        except psycopg.errors.InsufficientPrivilege:
            return "the server's write-ahead log and its archive keep deleted rows until they are recycled"
    return ""


def _logs(workspace: Workspace) -> int:
    """Empty text logs written before: nothing personal belongs there, and nothing is left to chance."""
    cleared = 0
    for path in _texts(workspace):
        with contextlib.suppress(OSError):
            if path.stat().st_size:
                path.write_bytes(b"")
                cleared += 1
    return cleared


def _texts(workspace: Workspace) -> Iterator[Path]:
    for folder in ("logs", "pg/data/log"):
        yield from (path for path in workspace.path(folder).rglob("*") if path.is_file())
    yield from (path for path in workspace.path("pg/data").glob("*.log") if path.is_file())
