"""The checks against the list: at ingest rows of erased people are taken out, or lose their person; before clustering none is left."""

from collections.abc import Callable
from datetime import datetime

from cdp.lake.engine import Lake
from cdp.privacy import matching
from cdp.privacy.matching import Rows
from cdp.privacy.people import ALONE
from cdp.privacy.strip import strip
from cdp.privacy.suppression import HASH, Suppression
from cdp.sources.model import Source
from cdp.store import assignment
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

STAGE = "memory.main.stage_rows"


def guard(workspace: Workspace, now: datetime) -> Callable[[Lake, Source], None] | None:
    """What ingest calls over the staged rows of a source; None where nobody was ever erased."""
    suppression = Suppression(workspace)
    if not suppression.entries():
        return None

    def living(records: list[str]) -> set[str]:
        with connect(owner_address(workspace)) as store:
            return assignment.assigned(store, records)

    def check(lake: Lake, source: Source) -> None:
        matching.load(lake, suppression)
        regions = tuple(workspace.settings.phone_regions.split(","))
        if matching.match(lake, source, Rows(STAGE), suppression, regions, living, now):
            strip(lake, source, STAGE)

    return check


def came_back(lake: Lake, workspace: Workspace) -> int:
    """Records about to be clustered that the list names alone: none, unless a row found a way around the check at ingest."""
    suppression = Suppression(workspace)
    if not matching.load(lake, suppression):
        return 0
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
