"""The last step of an erasure: what engines keep behind of deleted rows is removed, then the requests end."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg

from cdp.lake.maintain import expire, remove_orphans
from cdp.privacy import requests as domain
from cdp.privacy.erase import PURGE_MODELS, Job
from cdp.privacy.trail import tell
from cdp.store import releases, requests
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

PATIENCE = "60s"  # for a table's lock: readers are brief


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
    with connect(owner_address(workspace)) as store:
        store.execute(f"set lock_timeout = '{PATIENCE}'")
        store.execute("set statement_timeout = 0")
        store.execute("analyze")
        store.execute("vacuum (full)")
    return rewrite_wal(workspace)


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
