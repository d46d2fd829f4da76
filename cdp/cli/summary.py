"""What a run did, in a few lines."""

from cdp.cli.output import table
from cdp.lake.engine import open_lake
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

FILES = """
    select f.source, count(*), sum(r.lines), sum(r.accepted), sum(r.duplicates), sum(r.quarantined), sum(r.suppressed)
    from ops__files f join ops__reconciliation r using (source, file, sha256) group by all order by all
"""
BLOCKED = "select source, file, reason from ops__files where status = 'blocked' order by all"


def of_run(workspace: Workspace, run_id: str, seconds: float) -> str:
    """What there is now, and how long it took."""
    return f"{of_state(workspace)}\nrun {run_id[:8]} took {seconds:.1f} s"


def of_state(workspace: Workspace) -> str:
    """The reconciliation of all files so far, what was left out, and what is served now."""
    with open_lake(workspace) as lake:
        files, blocked = lake.rows(FILES), lake.rows(BLOCKED)
    with connect(owner_address(workspace)) as store:
        kinds: dict[str, int] = dict(store.execute("select kind, count(*) from profiles group by kind").fetchall())
        points = store.execute("select coalesce(sum(amount), 0)::bigint, count(*) from ledger_entries").fetchone() or (
            0,
            0,
        )
    headers = ["source", "files", "lines", "accepted", "duplicates", "quarantined", "suppressed"]
    counted = [(row[0], *(int(value) for value in row[1:])) for row in files]
    parts = [table(headers, counted) if counted else "no files yet"]
    parts += [f"left out: {source}/{file}: {reason}" for source, file, reason in blocked]
    parts.append(
        f"{kinds.get('known', 0):,} known customers, {kinds.get('anonymous', 0):,} anonymous; "
        f"{points[1]:,} ledger entries, {points[0]:,} points"
    )
    return "\n".join(parts)
