"""`cdp audit` and `cdp privacy`: the sealed log, and requests of people about their data."""

import getpass
from typing import Annotated
from uuid import UUID

import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.clock import system_now
from cdp.consent.policy import load_policy
from cdp.errors import CdpError
from cdp.privacy import requests, trail
from cdp.settings import Settings
from cdp.store import audit as log
from cdp.store import requests as stored
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import open_workspace

audit = typer.Typer(help="The audit log: verified, sealed, shown.", no_args_is_help=True)
app.add_typer(audit, name="audit")
privacy = typer.Typer(help="Requests of people about their data: opened, verified, carried out.", no_args_is_help=True)
app.add_typer(privacy, name="privacy")


KINDS = ("access", "portability", "rectification", "restriction", "objection", "erasure")


class Tampered(CdpError):
    """The audit log is not what was sealed."""


@audit.command("verify")
def verify_log() -> None:
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


@privacy.command("list")
def list_requests() -> None:
    """List the requests, those due first before the finished ones.

    Example: cdp privacy list
    """
    workspace = open_workspace(Settings())
    with database(workspace), connect(owner_address(workspace)) as store:
        rows = stored.listed(store)
    shown = [
        (
            str(r["request_id"]),
            r["kind"],
            str(r["customer_id"]),
            r["status"],
            f"{r['due_at']:%Y-%m-%d}",
            r["outcome"] or "",
        )
        for r in rows
    ]
    print(table(["request", "kind", "customer", "status", "due", "outcome"], shown))


@privacy.command()
def request(kind: str, customer: str) -> None:
    """Open a request of one customer; prints its id.

    Example: cdp privacy request erasure 0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77
    """
    workspace, now, actor = open_workspace(Settings()), system_now(), f"user:{getpass.getuser()}"
    if kind not in KINDS:
        raise CdpError(f"unknown kind {kind}", f"choose from {', '.join(KINDS)}")
    try:
        UUID(customer)
    except ValueError as error:
        raise CdpError("this is no customer id", "find it with the API's lookup or 'cdp sql'") from error
    with database(workspace), connect(owner_address(workspace)) as store:
        with store.transaction():
            made = requests.receive(store, load_policy(workspace), kind, customer, {}, actor, now)
        trail.tell(
            workspace, store, "privacy.received", {"request": str(made), "kind": kind}, now, customer_id=customer
        )
    print(made)


@privacy.command()
def verify(
    request_id: UUID, proof: Annotated[str, typer.Option(help="How identity was proven; never the proof itself.")]
) -> None:
    """Note that the person proved who they are; an erasure is carried out by the next run.

    Example: cdp privacy verify 3f0c… --proof in_person
    """
    workspace, now, actor = open_workspace(Settings()), system_now(), f"user:{getpass.getuser()}"
    with database(workspace), connect(owner_address(workspace)) as store:
        with store.transaction():
            requests.verify(store, request_id, proof, actor, now)
        trail.tell(workspace, store, "privacy.verified", {"request": str(request_id)}, now)
    say("Verified. An erasure is carried out by the next 'cdp run'.")
