"""Checks of what a source sent: how much, how complete, and whether its columns are those of yesterday."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from cdp.checks import Finding
from cdp.errors import UnreadableFile
from cdp.lake.build import is_empty
from cdp.lake.engine import Lake
from cdp.sources.draft import headers_of
from cdp.sources.ingest import SENT
from cdp.sources.landing import landing_files
from cdp.sources.model import ColumnType, Source
from cdp.sources.read import DAMAGE

DAYS = 28  # landing days that say what is usual
FEWEST = 5  # fewer say nothing
LEAST, MOST = 0.3, 3.0  # of the usual number of rows
GAPS = 3.0  # of the usual pause between two landings
RISE = 0.2  # of a column's share of empty values
OFTEN = 0.5  # of the rows: a field of JSON that fewer have comes and goes
ROWS = 100  # fewer have no shares
NOTHING = Finding(ok=True, facts={"judged": "nothing has arrived yet"})


def volume(lake: Lake, source: Source, now: datetime) -> Finding:
    """The newest landing day against the median of those before it, and the pause since then against the usual one."""
    if is_empty(lake, source.raw_table):
        return NOTHING
    query = f"select cast(timezone('UTC', _landed_at) as date) as day, count(*) from {source.raw_table} group by 1 order by 1"  # noqa: S608
    days = [(day, int(rows)) for day, rows in lake.rows(query)][-DAYS - 1 :]
    if len(days) <= FEWEST:
        return Finding(ok=True, facts={"landing days": len(days), "judged": f"after {FEWEST + 1} landing days"})
    usual = median(rows for _, rows in days[:-1])
    pause = median((b - a).days for (a, _), (b, _) in pairwise(days))
    silent = (now.astimezone(UTC).date() - days[-1][0]).days
    ok = LEAST * usual <= days[-1][1] <= MOST * usual and silent <= max(2.0, GAPS * pause)
    facts = {
        "rows on the newest landing day": days[-1][1],
        "usual rows": float(usual),
        "days since then": silent,
        "usual pause in days": float(pause),
    }
    return Finding(ok, facts)


def nulls(lake: Lake, source: Source) -> Finding:
    """Columns that are emptier on the newest landing day than they were before."""
    if is_empty(lake, source.raw_table):
        return NOTHING
    plain = [name for name, column in source.columns.items() if column.type not in (ColumnType.LIST, ColumnType.FLAGS)]
    shares = ", ".join(
        f'avg(cast("{name}" is null as integer)) filter (where is_new), avg(cast("{name}" is null as integer)) filter (where not is_new)'
        for name in plain
    )
    query = (
        "with marked as (select *, cast(_landed_at as date) = max(cast(_landed_at as date)) over () as is_new "  # noqa: S608
        f"from {source.raw_table} where _redacted is not true and _landed_at >= (select max(_landed_at) from {source.raw_table}) - interval {DAYS} day) "
        f"select count(*) filter (where is_new), count(*) filter (where not is_new), {shares} from marked"
    )
    row = lake.rows(query)[0]
    if min(row[:2]) < ROWS:
        return Finding(ok=True, facts={"new rows": row[0], "rows before": row[1], "judged": f"from {ROWS} rows on"})
    pairs = zip(plain, row[2::2], row[3::2], strict=True)
    risen = [
        {"column": name, "empty now": round(float(now), 3), "empty before": round(float(before), 3)}
        for name, now, before in pairs
        if now - before > RISE
    ]
    return Finding(not risen, {"new rows": row[0], "columns emptier than before": len(risen)}, risen)


def drift(landing: Path, source: Source) -> Finding:
    """Columns of the newest file against those of the file before it; what a contract does not name is not read."""
    paths = [path for path in landing_files(landing, source) if not path.name.startswith(SENT)]
    found = []
    try:
        newest = sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))[-2:]
    except FileNotFoundError:
        return Finding(ok=True, facts={"judged": "not: a file went away meanwhile"})
    for path in newest:
        try:
            found.append(set(headers_of(path, source.format, source.encoding, OFTEN)[0]))
        except (*DAMAGE, UnreadableFile):
            return Finding(ok=True, facts={"judged": "not: one of the two newest files cannot be read"})
    if len(found) < 2:
        return Finding(ok=True, facts={"files": len(found), "judged": "from two files on"})
    named = {column.path or name for name, column in source.columns.items()}
    changed = {"gone": found[0] - found[1], "new": found[1] - found[0]}
    # only the contract's columns are named: the first line of a file without a header is somebody's
    rows = [{"column": name, "what": what} for what, names in changed.items() for name in sorted(names & named)]
    facts = {f"columns {what}": len(names) for what, names in changed.items()}
    return Finding(not any(changed.values()), facts, rows)
