"""The checks against the list: at ingest rows of erased people are taken out, or lose their person; before clustering none is left."""

from collections.abc import Callable
from datetime import datetime

import polars as pl

from cdp.lake.build import incoming
from cdp.lake.engine import Lake
from cdp.privacy import landing, matching
from cdp.privacy.matching import Rows
from cdp.privacy.people import ALONE, listed
from cdp.privacy.strip import STAGE, actions, strip
from cdp.privacy.suppression import HASH, Suppression
from cdp.sources.ingest import Suppress
from cdp.sources.model import Source
from cdp.store import assignment
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace


def guard(workspace: Workspace, now: datetime) -> Suppress | None:
    """What ingest calls over the staged rows of a source; None where nobody was ever erased."""
    suppression = Suppression(workspace)
    if not suppression.entries():
        return None
    regions = tuple(workspace.settings.phone_regions.split(","))

    def living(records: list[str]) -> set[str]:
        with connect(owner_address(workspace)) as store:
            return assignment.assigned(store, records)

    def check(lake: Lake, source: Source) -> list[str]:
        """Strip the stage, then redact the landing files in place: what was erased is not kept because it came again."""
        matching.load(lake, suppression)
        matching.match(lake, source, Rows(STAGE), suppression, regions, living, now)
        found = actions(lake, source)
        strip(lake, source, STAGE)
        for file, line in _rejected(lake, listed(suppression, regions)):
            found.setdefault(file, {})[line] = "remove"
        for file, lines in found.items():
            landing.rewrite(workspace.path("landing", source.source, file), source, lines)
        return sorted(found)

    return check


def take_out(lake: Lake, source: Source, workspace: Workspace) -> None:
    """Take the rows of erased people out of a stage that no landing file stands behind; they are told by the next run."""
    suppression = Suppression(workspace)
    if suppression.entries():
        matching.load(lake, suppression)
        regions = tuple(workspace.settings.phone_regions.split(","))
        matching.match(lake, source, Rows(STAGE), suppression, regions, lambda _: set())
        strip(lake, source, STAGE)


def _rejected(lake: Lake, named: Callable[[str], bool]) -> set[tuple[str, int]]:
    """Take lines that could not be read and name an erased person out of the stage; returns (file, line)."""
    rows = lake.rows("select distinct file, line, payload from memory.main.stage_rejected where line > 0")
    found = {(file, line) for file, line, payload in rows if named(payload)}
    schema = {"file": pl.String, "line": pl.Int64}
    with incoming(lake, pl.DataFrame(sorted(found), schema=schema, orient="row").to_arrow()):
        lake.rows("delete from memory.main.stage_rejected where (file, line) in (from incoming)")
    return found


def came_back(lake: Lake, workspace: Workspace) -> int:
    """Records about to be clustered that the list names alone: none, unless a row found a way around the check at ingest."""
    suppression = Suppression(workspace)
    if not suppression.entries():
        return 0
    matching.load(lake, suppression)
    inner, outer = suppression.pads
    query = f"""
        with tokens as (
            select record_id, 'record' as type, record_id as value from core__contact_records
            where coalesce(identifier, '') not in ('browser', 'device')
            union all
            select record_id, type, value from core__record_identifiers where not blocked and type in (select unnest($alone))
        )
        select count(distinct t.record_id) from (select record_id, {HASH.format(text=matching.TEXT)} as hash from tokens) as t
        join memory.main.suppressed as s using (hash) where not s.shared
    """
    return int(lake.connection.execute(query, {"inner": inner, "outer": outer, "alone": list(ALONE)}).fetchall()[0][0])
