"""Retention: what is older than `retention.yaml` allows goes, from landing files, lake and store."""

from dataclasses import dataclass
from datetime import timedelta

from cdp.lake import register
from cdp.lake.tables import anew
from cdp.privacy.erase import Job, redact
from cdp.retention import Retention
from cdp.sources.canonical import has_order, row_parties, states_decision
from cdp.sources.model import Source

SAYS = (
    "coalesce(given_name, family_name, full_name, email, phone, birth_date, postal_code, wechat_openid, wechat_unionid)"
)


@dataclass(frozen=True)
class Ended:
    """What a run's retention took out."""

    rows: int
    payloads: int
    changes: int


def enforce(job: Job, rules: Retention) -> Ended:
    """Take out what is too old; the same once more takes out nothing."""
    rows = sum(
        _source(job, source, kept, days)
        for source in job.sources
        if (keep := rules.sources.get(source.source)) is not None
        for kept, days in (("visits", keep.visits), ("rows", keep.rows))
        if days is not None
    )
    return Ended(rows, _quarantine(job, rules.quarantine), _changes(job, rules.changes))


def _source(job: Job, source: Source, kept: str, days: int) -> int:
    """Old rows of one source leave the raw table, and their landing lines give way to markers."""
    lake, numbered = job.lake, f"(select *, rowid as _rowid from {source.raw_table}) as r"
    if "_redacted" not in _columns(job, source):
        return 0
    lake.rows(
        f"create or replace table memory.main.ended as select _rowid, _file, _line from {numbered} "
        f"where _redacted is null and not {has_order(source)} and not {states_decision(source)} and ({source.seen_at}) < $cutoff",
        {"cutoff": job.now - timedelta(days=days)},
    )
    if kept == "visits":  # a row that says who somebody is, is not one
        parties = row_parties(source, numbered, "_rowid", "_line")
        lake.rows(
            f"delete from memory.main.ended where _rowid in (select _order from ({parties}) as p where {SAYS} is not null)"
        )
    files = lake.rows("select _file, list(_line) from memory.main.ended group by all order by 1")
    for name, lines in files:
        path = job.workspace.path("landing", source.source, name)
        if path.exists():
            redact(job, source, path, dict.fromkeys(lines, "remove"))
    if files:
        lake.write(lambda: _delete(job, source), f"retention of {source.source}")
    return sum(len(lines) for _, lines in files)


def _columns(job: Job, source: Source) -> set[str]:
    return (
        {row[0] for row in job.lake.rows(f"describe {source.raw_table}")}
        if job.lake.exists(source.raw_table)
        else set()
    )


def _delete(job: Job, source: Source) -> None:
    job.lake.connection.execute(
        f"delete from lake.main.{source.raw_table} where rowid in (select _rowid from memory.main.ended)"
    )
    anew(job.lake, source.raw_table)
    register.record(job.lake, source.raw_table, f"retention {job.lake.run_id}")
    register.record(job.lake, register.REPLACED, job.lake.run_id)  # in what follows too the catalog knows extremes


def _quarantine(job: Job, days: int | None) -> int:
    if days is None:
        return 0
    cutoff = [job.now - timedelta(days=days)]
    old = "rejected_at < ? and payload <> ''"
    found = int(job.lake.scalar(f"select count(*) from ops__rejected_rows where {old}", cutoff))
    if found:
        statement = f"update lake.main.ops__rejected_rows set payload = '' where {old}"
        job.lake.write(lambda: job.lake.connection.execute(statement, cutoff), "retention of quarantine")
    return found


def _changes(job: Job, days: int | None) -> int:
    if days is None:
        return 0
    # what a webhook has before it stays; so does the newest, after which positions are counted
    query = (
        "delete from changes where at < %s and position < (select max(position) from changes) "
        "and position <= coalesce((select min(position) from webhooks), position)"
    )
    done = job.store.execute(query, [job.now - timedelta(days=days)])
    return done.rowcount
