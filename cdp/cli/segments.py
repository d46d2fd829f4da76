"""`cdp segments`: how many each segment holds, before it is used."""

from cdp.cli.main import app
from cdp.cli.output import table
from cdp.errors import CdpError
from cdp.settings import Settings
from cdp.store import releases
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import open_workspace


@app.command()
def segments() -> None:
    """Count the built-in segments and those of insight.yaml over the scores of the newest run. Nothing is written.

    Example: edit insight.yaml, then: cdp segments
    """
    from cdp.insight.rules import load_insight
    from cdp.insight.segments import SCORES, counts
    from cdp.lake.engine import open_lake
    from cdp.lake.register import recorded

    workspace = open_workspace(Settings())
    rules = load_insight(workspace)
    with database(workspace):
        with connect(owner_address(workspace)) as store:
            known = releases.newest(store)
        with open_lake(workspace, read_only=True, snapshot=known[0].snapshot_id if known else None) as lake:
            if recorded(lake, SCORES) is None:
                raise CdpError("nobody has been measured yet", "run the pipeline once: 'cdp run'")
            found = counts(lake, rules)
    print(table(["segment", "customers"], list(found.items())))
