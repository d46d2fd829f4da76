"""Checks of what was read, rejected and read again."""

from cdp.checks import Finding
from cdp.lake.build import is_empty
from cdp.lake.engine import Lake
from cdp.sources.ingest import RECONCILED, read_files


def replays(lake: Lake) -> Finding:
    """Lines marked as read again against the lines of the files that they came back in (those that a run has read)."""
    query = """
        with marked as (
            select source, replayed_as as file, count(distinct (file, sha256, line)) as lines from ops__rejected_rows
            where replayed_as is not null group by all
        ), came as (select source, file, sum(lines) as lines, sum(accepted) as accepted from ops__reconciliation where file like 'corrected-%' group by all)
        select m.source, m.file, m.lines, c.lines as came, c.accepted from marked m left join came c using (source, file) order by all
    """
    rows = [] if is_empty(lake, "ops__rejected_rows") else lake.records(query)
    wrong = [row for row in rows if row["came"] is not None and row["came"] < row["lines"]]
    facts = {
        "lines read again": sum(int(row["lines"]) for row in rows), "of them accepted": sum(int(row["accepted"] or 0) for row in rows),
        "in files that wait for a run": sum(int(row["lines"]) for row in rows if row["came"] is None),
    }  # fmt: skip
    return Finding(not wrong, facts, wrong)


def files(lake: Lake) -> Finding:
    """Every file's lines are accepted, duplicate, quarantined or suppressed, whichever run read it."""
    read = read_files(lake)
    wrong = [dict(zip(RECONCILED, row, strict=True)) for row in read.unreconciled]
    return Finding(not wrong, {"files": read.number}, wrong)
