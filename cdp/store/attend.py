"""A worker that keeps looking at the store until it is told to stop."""

import threading
from collections.abc import Callable

import psycopg
import structlog

from cdp.errors import StoreUnavailable
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

EVERY = 0.2  # seconds between two looks while there is nothing to do
SILENT = "1 minute"  # without a look: the worker is dead or stuck
WORKERS = ("live", "derived", "webhooks")
log = structlog.get_logger("attend")


def attend(
    workspace: Workspace, stop: threading.Event, look: Callable[[psycopg.Connection], object], name: str
) -> None:
    """Look again and again, with the owner's connection; a database that is away is waited for.

    Args:
        workspace: Whose store.
        stop: Ends it.
        look: Does what there is to do; says whether there was anything.
        name: Of the worker, for the log.
    """
    while not stop.is_set():
        try:
            with connect(owner_address(workspace)) as store:
                store.execute("select set_config('application_name', %s, false)", [f"cdp {name}"])
                while not stop.is_set():
                    if not look(store):
                        stop.wait(EVERY)
        except (psycopg.Error, StoreUnavailable) as error:
            log.warning("the store is away", worker=name, error=type(error).__name__)
            stop.wait(1)


def absent(store: psycopg.Connection) -> list[str]:
    """The workers of `cdp live` that nobody is, or that have not looked for a minute."""
    query = """
        select application_name from pg_stat_activity
        where datname = current_database() and (state = 'active' or state_change > now() - %s::interval)
    """
    there = {name for (name,) in store.execute(query, [SILENT]).fetchall()}
    return [name for name in WORKERS if f"cdp {name}" not in there]
