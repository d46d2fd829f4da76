"""`cdp webhooks`: who is called when something changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import psycopg
import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.clock import system_now
from cdp.privacy.trail import tell
from cdp.settings import Settings
from cdp.store import webhooks as kept
from cdp.store.connect import connect, database, owner_address
from cdp.webhooks import manage
from cdp.workspace import Workspace, open_workspace

webhooks = typer.Typer(help="Webhooks: added, listed, given another secret, replayed.", no_args_is_help=True)
app.add_typer(webhooks, name="webhooks")


@contextmanager
def _opened(action: str = "", name: str = "") -> Iterator[tuple[Workspace, psycopg.Connection]]:
    workspace = open_workspace(Settings())
    with database(workspace), connect(owner_address(workspace)) as store:
        yield workspace, store
        if action:
            tell(workspace, store, action, {"webhook": name}, system_now())


@webhooks.command()
def add(
    name: str,
    url: str,
    type: Annotated[list[str] | None, typer.Option(help="Only these changes; repeat for several.")] = None,
) -> None:
    """Call an address on every change from now on. Its secret is the last line printed, and is never shown again.

    `cdp live` calls (`cdp serve` starts it). docs/channels/webhooks.md says how to verify a message.

    Example: cdp webhooks add shop https://shop.example.org/hooks/cdp --type balance.changed
    """
    manage.judge(open_workspace(Settings()), name, url, type or [])
    with _opened("webhook.added", name) as (workspace, store):
        _, secret = manage.add(store, workspace, name, url, type or [], system_now())
    say(f"Webhook '{name}' is called from now on. Keep its secret; it is not shown again.")
    print(secret)


@webhooks.command("list")
def list_webhooks() -> None:
    """List the webhooks and how each stands.

    Example: cdp webhooks list
    """
    with _opened() as (_, store):
        found, behind = kept.listed(store), kept.behind(store)
    rows = [
        (
            hook.name,
            ", ".join(hook.types) if hook.types else "all",
            manage.state(hook, behind.get(hook.webhook_id, 0)),
            f"{behind.get(hook.webhook_id, 0):,}",
            hook.last_error or "",
            f"{hook.next_at:%Y-%m-%d %H:%M:%S}" if hook.attempts else "",
        )
        for hook in found
    ]
    print(table(["name", "changes", "state", "behind", "last error", "next attempt"], rows))


@webhooks.command()
def rotate(
    name: str,
    overlap_hours: Annotated[int, typer.Option(min=0, max=720, help="How long the present secret signs too.")] = 24,
) -> None:
    """Give a webhook another secret. It is the last line printed.

    Example: cdp webhooks rotate shop --overlap-hours 48
    """
    with _opened("webhook.rotated", name) as (workspace, store):
        hook = kept.by_name(store, name)
        _, secret = manage.rotate(store, workspace, hook, timedelta(hours=overlap_hours), system_now())
    say(f"Webhook '{name}' has a new secret; the one before signs for {overlap_hours} hours more.")
    print(secret)


@webhooks.command()
def resume(name: str) -> None:
    """Try now, whatever it waits for, also if it ended with 410. It goes on where it stopped.

    Example: cdp webhooks resume shop
    """
    with _opened("webhook.resumed", name) as (_, store):
        kept.resume(store, kept.by_name(store, name).webhook_id, system_now())
    say(f"Webhook '{name}' is called again.")


@webhooks.command()
def skip(name: str) -> None:
    """Give up the change that holds it up: it becomes a dead letter, and the next one follows.

    Example: cdp webhooks skip shop
    """
    with _opened("webhook.skipped", name) as (_, store):
        position = kept.skip(store, kept.by_name(store, name).webhook_id, system_now())
    say(f"Webhook '{name}' goes on after change {position}; 'cdp webhooks replay {name}' sends it once more.")


@webhooks.command()
def dead(name: str) -> None:
    """List what was given up, at most a thousand.

    Example: cdp webhooks dead shop
    """
    with _opened() as (_, store):
        found = kept.dead_letters(store, kept.by_name(store, name).webhook_id, limit=1000)
    rows = [(str(d["position"]), d["type"], f"{d['died_at']:%Y-%m-%d %H:%M}", d["error"]) for d in found]
    print(table(["position", "change", "given up", "why"], rows))


@webhooks.command()
def replay(
    name: str,
    position: Annotated[list[int] | None, typer.Option(help="Only these; all of them where left out.")] = None,
) -> None:
    """Send dead letters once more, under the ids they had.

    Example: cdp webhooks replay shop --position 4711
    """
    with _opened("webhook.replayed", name) as (_, store):
        count = kept.replay(store, kept.by_name(store, name).webhook_id, position or None, system_now())
    say(f"{count:,} dead letters are sent once more.")


@webhooks.command()
def remove(name: str) -> None:
    """Call it no more; its dead letters go with it.

    Example: cdp webhooks remove shop
    """
    with _opened("webhook.removed", name) as (_, store):
        kept.remove(store, kept.by_name(store, name).webhook_id)
    say(f"Webhook '{name}' is removed.")
