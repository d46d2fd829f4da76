"""`cdp audit` and `cdp privacy`: the sealed log, and requests of people about their data."""

from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.clock import system_now
from cdp.errors import CdpError
from cdp.privacy import trail
from cdp.settings import Settings
from cdp.store import audit as log
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import open_workspace

audit = typer.Typer(help="The audit log: verified, sealed, shown.", no_args_is_help=True)
app.add_typer(audit, name="audit")


class Tampered(CdpError):
    """The audit log is not what was sealed."""


@audit.command()
def verify() -> None:
    """Check every sealed row, and that the log's end was not cut. Ends with 1 where something is wrong.

    Example: cdp audit verify
    """
    workspace = open_workspace(Settings())
    with database(workspace), connect(owner_address(workspace)) as store:
        found, newest, waiting = trail.verify(workspace, store), log.newest(store), log.unsealed(store)
    if found:
        raise Tampered("\n".join(found), "compare with a backup: 'cdp restore --help'")
    rows = newest.last_id if newest else 0
    print(
        f"The log is whole: {newest.seal_id if newest else 0} seals up to row {rows:,}, {waiting} rows not sealed yet."
    )


@audit.command()
def seal() -> None:
    """Seal what waits. The API and every run do it by themselves.

    Example: cdp audit seal
    """
    workspace = open_workspace(Settings())
    with database(workspace), connect(owner_address(workspace)) as store:
        made = trail.seal(workspace, store, system_now())
    say(f"Sealed {made.rows} rows." if made else "Nothing to seal.")


@audit.command("list")
def list_rows(
    customer: Annotated[str | None, typer.Option(help="Only about this customer.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Newest rows to show.")] = 50,
) -> None:
    """Show the newest rows.

    Example: cdp audit list --customer 0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77
    """
    workspace = open_workspace(Settings())
    with database(workspace), connect(owner_address(workspace)) as store:
        rows = log.newest_rows(store, customer, limit)
    print(table(["at", "actor", "action", "customer", "purpose", "reason"], rows))
