"""Erasure: the list first, then landing files and quarantine, the lake, the store; every step may be repeated.

What only follows from the rows (canonical tables, clusters, profiles) is dropped and made again by the run that carries
the erasure out. The last step, `cdp.privacy.purge`, removes what the engines keep behind.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import psycopg

from cdp.errors import Conflict, UnreadableFile
from cdp.lake import register
from cdp.lake.build import incoming
from cdp.lake.engine import Lake
from cdp.lake.tables import anew, forget_builds
from cdp.privacy import landing, matching
from cdp.privacy.landing import Action
from cdp.privacy.matching import Rows
from cdp.privacy.people import People, finder, of_customers, suppressed
from cdp.privacy.strip import STAGE, actions, strip
from cdp.privacy.suppression import Suppression
from cdp.sources import stage
from cdp.sources.contract import Contract, compile_contract
from cdp.sources.landing import landing_files
from cdp.sources.model import Source
from cdp.sources.read import Rejected, fingerprint, read_batches
from cdp.store import assignment, erasure, landed, requests
from cdp.workspace import Workspace

Log = Callable[[str], None]
PURGE_MODELS = "purge_models"


class Moved(Conflict):
    """The assignment changed under an erasure."""


@dataclass(frozen=True)
class Job:
    """What an erasure works with."""

    workspace: Workspace
    lake: Lake
    store: psycopg.Connection
    sources: list[Source]
    now: datetime
    log: Log

    def living(self, records: list[str]) -> set[str]:
        """Which of these records belong to a customer now."""
        return assignment.assigned(self.store, records)

    @property
    def regions(self) -> tuple[str, ...]:
        """Countries in which to read a bare phone number."""
        return tuple(self.workspace.settings.phone_regions.split(","))


def carry_out(job: Job) -> int:
    """Carry out every erasure whose identity is proven; returns how many customers are erased.

    A run that died in between is caught up by the next: the customers stand in the store until all else is done.
    """
    waiting = requests.listed(job.store, ["verified", "running"], "erasure")
    pending = [row for row in waiting if requests.erased_at(job.store, str(row["customer_id"])) is None]
    if not pending:
        return 0
    ids = [row["request_id"] for row in pending]
    for request in ids:
        requests.update(job.store, request, status="running")
    who = of_customers(job.store, _living(job, pending))
    added = Suppression(job.workspace).add(sorted(who.identifiers), job.now)
    job.log(f"erasing {len(who.customers)} customers; {added} identifiers are now suppressed")
    _erase(job, who, ids)
    return len(who.customers)


def _living(job: Job, pending: list[dict[str, Any]]) -> list[str]:
    """The customers that the requests are about today: one that was merged meanwhile is the one it became.

    A request about nobody any more ends as failed: its officer has to look.
    """
    found = set()
    for row in pending:
        customer = assignment.resolve(job.store, str(row["customer_id"]))
        if customer is None or not of_customers(job.store, [customer]).records:
            requests.update(
                job.store,
                row["request_id"],
                status="failed",
                finished_at=job.now,
                outcome="nobody is left under this id",
            )
        else:
            requests.set_customer(job.store, row["request_id"], customer)
            found.add(customer)
    return sorted(found)


def reapply(job: Job) -> int:
    """Erase again whom the list names, as after a restore; returns how many records that were.

    Nobody who was erased comes back by a backup from before.
    """
    suppression = Suppression(job.workspace)
    if not suppression.entries():
        return 0
    who = suppressed(job.store, suppression)
    _erase(job, who, [])
    job.workspace.path(
        "privacy", PURGE_MODELS
    ).touch()  # the next run has the records to tell what nobody holds any more
    for row in requests.listed(job.store, ["received", "verified", "running"], "erasure"):
        if requests.erased_at(job.store, str(row["customer_id"])):
            requests.update(
                job.store, row["request_id"], status="done", finished_at=job.now, outcome="erased after a restore"
            )
    return len(who.records)


def _erase(job: Job, who: People, ids: list[UUID]) -> None:
    """Every system in turn, the store last: until then whom to erase can be read from it."""
    suppression = Suppression(job.workspace)
    matching.load(job.lake, suppression)
    for system, work in (("landing", _landing), ("quarantine", _quarantine), ("lake", _lake)):
        details = work(job, suppression, who)
        for request in ids:
            status = "failed" if details.get("unreadable files left") else "done"
            requests.set_step(job.store, request, system, status, job.now, details)
    with job.store.transaction():
        if erasure.locked_records(job.store, who.customers) - set(who.records):
            raise Moved("records joined a customer while it was erased", "run again: the next run erases them too")
        erasure.erase(job.store, who.customers, who.records, suppression.hash, job.lake.run_id, job.now)
        for request in ids:
            requests.set_step(job.store, request, "store", "done", job.now)


def _landing(job: Job, suppression: Suppression, who: People) -> dict[str, object]:
    """Redact every landing file that names them; the lake's register follows in the same step as the file."""
    redacted, unread, lines = 0, [], 0
    for source in job.sources:
        contract = compile_contract(source)
        for path in landing_files(job.workspace.path("landing"), source):
            name = path.relative_to(job.workspace.path("landing", source.source)).as_posix()
            try:
                gone = _actions(job, contract, path, suppression, who)
            except UnreadableFile:
                unread.append(f"{source.source}/{name}")
                continue
            if gone:
                redact(job, source, path, gone)
                redacted, lines = redacted + 1, lines + len(gone)
    return {"files": redacted, "lines": lines, "unreadable files left": unread}


def redact(job: Job, source: Source, path: Path, gone: dict[int, Action]) -> None:
    """Redact lines of a landing file; the lake's register follows, so that the file is not read again."""
    before, name = fingerprint(path), path.relative_to(job.workspace.path("landing", source.source)).as_posix()
    state = path.stat()
    landing.rewrite(path, source, gone)
    made = path.stat()
    landed.rewritten(
        job.store,
        (source.source, name, state.st_size, state.st_mtime_ns),
        (source.source, name, made.st_size, made.st_mtime_ns),
    )
    _register(job.lake, source, name, before, fingerprint(path), gone)
    job.log(f"{source.source}/{name}: {len(gone):,} lines redacted")


def _actions(job: Job, contract: Contract, path: Path, suppression: Suppression, who: People) -> dict[int, Action]:
    """What is to be done with each line of a file."""
    source, lake = contract.source, job.lake
    stage.open_stage(lake, source)
    rejected: list[Rejected] = []
    for batch in read_batches(path, source):
        sound, bad = contract.apply(batch)
        stage.stage_rows(lake, source, path.name, 0, path.name, sound)
        rejected += [*batch.rejected, *bad]
    matching.match(lake, source, Rows(STAGE), suppression, job.regions, job.living)
    found = actions(lake, source).get(path.name, {})
    named = finder(who, job.regions)
    return found | {r.line: "remove" for r in rejected if r.line and named(r.payload)}


def _register(lake: Lake, source: Source, name: str, before: str, after: str, redacted: dict[int, Action]) -> None:
    """The file's new fingerprint, and what of it is suppressed now: it is not read again, and its lines still add up."""
    gone = [line for line, action in redacted.items() if action == "remove"]

    def write() -> None:
        with incoming(lake, pl.DataFrame({"line": gone}, schema={"line": pl.Int64}).to_arrow()):
            about = {"source": source.source, "file": name, "sha": before}
            accepted = lake.connection.execute(
                f"select count(*) from {source.raw_table} where _file = $file and _line in (from incoming)",
                {"file": name},
            ).fetchall()[0][0]
            rejected = lake.connection.execute(
                "select count(distinct line) from ops__rejected_rows where source = $source and file = $file and sha256 = $sha "
                "and line in (from incoming)", about,
            ).fetchall()[0][0]  # fmt: skip
            lake.connection.execute(
                "delete from lake.main.ops__rejected_rows where source = $source and file = $file and sha256 = $sha "
                "and line in (from incoming)", about,
            )  # fmt: skip
        counts = {"a": accepted, "q": rejected, "n": len(gone), "after": after}
        lake.connection.execute(
            "update lake.main.ops__reconciliation set accepted = accepted - $a, quarantined = quarantined - $q, "
            "duplicates = duplicates - ($n - $a - $q), suppressed = suppressed + $n, sha256 = $after "
            "where source = $source and file = $file and sha256 = $sha", about | counts,
        )  # fmt: skip
        for table in ("ops__files", "ops__rejected_rows"):
            lake.connection.execute(
                f"update lake.main.{table} set sha256 = $after where source = $source and file = $file and sha256 = $sha",
                about | {"after": after},
            )
        # what it was before is known too: a copy of the original is the same file, also where its rows have no key
        lake.connection.execute(
            "insert into lake.main.ops__files select * replace ('redacted' as status, $sha as sha256) from ops__files "
            "where source = $source and file = $file and sha256 = $after and $after <> $sha", about | {"after": after},
        )  # fmt: skip

    lake.write(write, f"redact {source.source}")


def _quarantine(job: Job, suppression: Suppression, who: People) -> dict[str, object]:
    """Payloads that name them, also of files that are gone from landing."""
    named = finder(who, job.regions)
    hits = [
        (s, f, n)
        for s, f, n, p in job.lake.rows("select source, file, line, payload from ops__rejected_rows")
        if named(p)
    ]
    schema = {"source": pl.String, "file": pl.String, "line": pl.Int64}

    def write() -> None:
        with incoming(job.lake, pl.DataFrame(hits, schema=schema, orient="row").to_arrow()):
            job.lake.connection.execute(
                "update lake.main.ops__rejected_rows as r set payload = '' from incoming as i "
                "where r.source = i.source and r.file = i.file and r.line = i.line"
            )

    if hits:
        job.lake.write(write, "redact quarantine")
    return {"payloads": len(hits)}


def _lake(job: Job, suppression: Suppression, who: People) -> dict[str, object]:
    """Strip the raw rows, drop all that follows from them; the run makes it again."""
    lake, counts = job.lake, dict[str, object]()
    for source in job.sources:
        if not lake.exists(source.raw_table):
            continue
        stage.create_raw_table(lake, source)
        matched = matching.match(
            lake,
            source,
            Rows(f"(select *, rowid as _rowid from {source.raw_table}) as r", "_rowid", "0"),
            suppression,
            job.regions,
            job.living,
        )
        counts[source.raw_table] = matched
        if matched:
            mark = uuid.uuid4().hex

            def work(source: Source = source, mark: str = mark) -> None:
                strip(lake, source, f"lake.main.{source.raw_table}", "rowid", "0")
                anew(lake, source.raw_table)
                register.record(lake, source.raw_table, mark)

            lake.write(work, f"erase {source.source}")
    forget_builds(lake)
    return counts
