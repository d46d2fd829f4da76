"""The check at ingest: rows of erased people are taken out, or lose their person, before they are judged."""

from collections.abc import Callable

from cdp.lake.engine import Lake
from cdp.privacy import matching
from cdp.privacy.matching import Rows
from cdp.privacy.strip import strip
from cdp.privacy.suppression import Suppression
from cdp.sources.model import Source
from cdp.workspace import Workspace

STAGE = "memory.main.stage_rows"


def guard(workspace: Workspace) -> Callable[[Lake, Source], None] | None:
    """What ingest calls over the staged rows of a source; None where nobody was ever erased."""
    suppression = Suppression(workspace)
    if not suppression.entries():
        return None

    def check(lake: Lake, source: Source) -> None:
        matching.load(lake, suppression)
        regions = tuple(workspace.settings.phone_regions.split(","))
        if matching.match(lake, source, Rows(STAGE), suppression, regions):
            strip(lake, source, STAGE)

    return check
