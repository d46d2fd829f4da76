"""Webhooks from a person's side: added, given another secret, taken up again, replayed."""

import re
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import get_args

import psycopg

from cdp.errors import ConfigError
from cdp.store import changes, feed, webhooks
from cdp.store.webhooks import Webhook
from cdp.webhooks import guard, message
from cdp.webhooks.deliver import networks
from cdp.workspace import Workspace

NAME = r"^[A-Za-z0-9._-]{1,100}$"


def judge(workspace: Workspace, name: str, url: str, types: Sequence[str]) -> None:
    """Refuse what cannot be called; looks a name up, which may take a while.

    Raises:
        guard.Refused: If its address must not be called.
        ConfigError: If the name is none, or there are no changes of such a type.
    """
    if not re.fullmatch(NAME, name):
        raise ConfigError("a webhook's name has letters, digits, '.', '_' and '-' alone, at most 100", "choose another")
    if unknown := sorted(set(types) - set(get_args(changes.Type))):
        raise ConfigError(f"no change is a {', '.join(unknown)}", f"choose from {', '.join(get_args(changes.Type))}")
    try:
        guard.target(url, networks(workspace))
    except OSError as error:
        raise guard.Refused("this host cannot be looked up", "check its name, or try again in a moment") from error


def add(
    store: psycopg.Connection, workspace: Workspace, name: str, url: str, types: Sequence[str], now: datetime
) -> tuple[Webhook, str]:
    """Add a receiver that was judged, of these types of changes (of all where none is given), from now on.

    Returns:
        It, and its secret, told this once.

    Raises:
        Conflict: If the name is taken.
    """
    made = webhooks.add(store, str(uuid.uuid4()), name, url, sorted(set(types)) or None, feed.newest(store), now)
    return made, message.secret(workspace.secrets["pepper"], made.webhook_id, made.generation)


def rotate(
    store: psycopg.Connection, workspace: Workspace, hook: Webhook, overlap: timedelta, now: datetime
) -> tuple[Webhook, str]:
    """Give it another secret, told this once; messages carry a signature of those before too until the overlap ends."""
    webhooks.rotate(store, hook.webhook_id, now + overlap, now)
    made = webhooks.get(store, hook.webhook_id)
    return made, message.secret(workspace.secrets["pepper"], made.webhook_id, made.generation)


def state(hook: Webhook, behind: int) -> str:
    """In a word how it stands, with so many changes before it."""
    if hook.disabled_at is not None:
        return "ended"
    if hook.failing_since is not None:
        return "failing"
    return "under way" if behind else "up to date"
