"""`cdp keys`: who may call the API, and for what."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.clock import system_now
from cdp.consent.policy import load_policy
from cdp.errors import ConfigError
from cdp.privacy.trail import tell
from cdp.settings import Settings
from cdp.store import keys as store_keys
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace

keys = typer.Typer(help="API keys: created, listed, changed, revoked.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command()
def create(
    name: str,
    scope: Annotated[list[str], typer.Option(help="What the key may do; repeat for several.")],
    purpose: Annotated[
        list[str] | None, typer.Option(help="What it may read for, 'service' by default; repeat for several.")
    ] = None,
    source: Annotated[str, typer.Option(help="The source that events sent with it belong to (web, app …).")] = "",
    rate_limit: Annotated[int, typer.Option(min=1, help="Calls a minute.")] = store_keys.RATE_LIMIT,
    days: Annotated[int | None, typer.Option(min=1, help="It ends after so many days; never where left out.")] = None,
) -> None:
    """Make a key. Its text is the last line printed, and is never shown again.

    Example: cdp keys create till-12 --scope profiles:read --scope loyalty:read
    Example: cdp keys create shop-sdk --scope events:write --source web
    Example: cdp keys create tills --scope events:write --source pos
    Example: cdp keys create mailer --scope audiences:read --purpose email_marketing --days 90
    """
    workspace, now = open_workspace(Settings()), system_now()
    purposes = list(dict.fromkeys(purpose or ["service"]))
    if unknown := sorted(set(purposes) - set(load_policy(workspace).purposes)):
        raise ConfigError(f"unknown purpose {', '.join(unknown)}", "consent.yaml lists the purposes")
    if source or "events:write" in scope:
        _must_take(workspace, source)
    with database(workspace), connect(owner_address(workspace)) as store:
        text = store_keys.create(
            store, workspace.secrets["pepper"], name, scope, now, now + timedelta(days=days) if days else None, purposes, source or None, rate_limit
        )  # fmt: skip
        tell(workspace, store, "key.created", {"key": name, "scopes": sorted(set(scope)), "purposes": purposes}, now)
    say(
        f"Key '{name}' may: {', '.join(sorted(set(scope)))}, for {', '.join(purposes)}. Keep it; it is not shown again."
    )
    print(text)


def _must_take(workspace: Workspace, name: str) -> None:
    """Refuse a source that takes nothing that is sent."""
    from cdp.inbox import takes
    from cdp.sources.load import load_sources

    known = sorted(source.source for source in load_sources(workspace) if takes(source) not in (None, "edits"))
    if name not in known:
        raise ConfigError(
            f"events belong to a source: '{name}' takes nothing that is sent" if name else "events belong to a source",
            f"add --source, one of {', '.join(known)}",
        )


@keys.command("list")
def list_keys() -> None:
    """List the keys, without their texts."""
    workspace, now = open_workspace(Settings()), system_now()
    with database(workspace), connect(owner_address(workspace)) as store:
        found = store_keys.listed(store)
    rows = [
        (
            k.name,
            f"cdp_{k.prefix}_…",
            " ".join(k.scopes),
            " ".join(k.purposes),
            f"{k.rate_limit:,}/min",
            f"{k.created_at:%Y-%m-%d}",
            f"{k.last_used_at:%Y-%m-%d %H:%M}" if k.last_used_at else "never",
            _state(k, now),
        )
        for k in found
    ]
    print(table(["name", "key", "scopes", "purposes", "limit", "created", "last used", "state"], rows))


def _state(key: store_keys.Key, now: datetime) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at and key.expires_at <= now:
        return "expired"
    changing = (
        f", the text before it until {key.old_until:%Y-%m-%d %H:%M}" if key.old_until and key.old_until > now else ""
    )
    return ("living" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d}") + changing


@keys.command()
def rotate(
    name: str,
    overlap_hours: Annotated[int, typer.Option(min=0, help="How long the present text still holds.")] = 24,
) -> None:
    """Give a key another text. It is the last line printed; the present one holds until the overlap ends.

    Example: cdp keys rotate till-12 --overlap-hours 48
    """
    workspace, now = open_workspace(Settings()), system_now()
    with database(workspace), connect(owner_address(workspace)) as store:
        text = store_keys.rotate(store, workspace.secrets["pepper"], name, now, timedelta(hours=overlap_hours))
        tell(workspace, store, "key.rotated", {"key": name, "overlap_hours": overlap_hours}, now)
    say(f"Key '{name}' has a new text; the one before holds for {overlap_hours} hours more.")
    print(text)


@keys.command()
def revoke(name: str) -> None:
    """End a key: within a second no API takes it.

    Example: cdp keys revoke till-12
    """
    workspace, now = open_workspace(Settings()), system_now()
    with database(workspace), connect(owner_address(workspace)) as store:
        store_keys.revoke(store, name, now)
        tell(workspace, store, "key.revoked", {"key": name}, now)
    say(f"Key '{name}' is revoked; within a second no API takes it.")
