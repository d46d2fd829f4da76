"""`cdp keys`: who may call the API, and for what."""

from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.clock import system_now
from cdp.settings import Settings
from cdp.store import keys as store_keys
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import open_workspace

keys = typer.Typer(help="API keys: created, listed, revoked.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command()
def create(
    name: str,
    scope: Annotated[list[str], typer.Option(help="What the key may do; repeat for several.")],
) -> None:
    """Make a key. Its text is the last line printed, and is never shown again.

    Example: cdp keys create till-12 --scope profiles:read --scope loyalty:read
    """
    workspace = open_workspace(Settings())
    with database(workspace), connect(owner_address(workspace)) as store:
        text = store_keys.create(store, workspace.secrets["pepper"], name, scope, system_now())
    say(f"Key '{name}' may: {', '.join(sorted(set(scope)))}. Keep it; it is not shown again.")
    print(text)


@keys.command("list")
def list_keys() -> None:
    """List the keys, without their texts."""
    workspace = open_workspace(Settings())
    with database(workspace), connect(owner_address(workspace)) as store:
        found = store_keys.listed(store)
    rows = [
        (
            k.name,
            f"cdp_{k.prefix}_…",
            " ".join(k.scopes),
            f"{k.created_at:%Y-%m-%d}",
            "revoked" if k.revoked_at else "living",
        )
        for k in found
    ]
    print(table(["name", "key", "scopes", "created", "state"], rows))


@keys.command()
def revoke(name: str) -> None:
    """End a key at once.

    Example: cdp keys revoke till-12
    """
    workspace = open_workspace(Settings())
    with database(workspace), connect(owner_address(workspace)) as store:
        store_keys.revoke(store, name, system_now())
    say(f"Key '{name}' is revoked.")
