"""Whether a run would find anything: it costs a moment to ask, and many seconds to go through every table for nothing."""

import hashlib
import os
from datetime import datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psycopg

from cdp.sources.landing import seen
from cdp.sources.load import load_sources
from cdp.store import inbox, landed, standing
from cdp.store.connect import connect, lake_address
from cdp.store.standing import Standing
from cdp.workspace import Workspace

# what time alone changes (points end, a grant runs out, a day begins) waits no longer than that
FRESH = timedelta(hours=1)
ROOMS = ("cdp", "identity", "assets")
PLACES = {"home", "threads", "memory_limit", "api_host", "api_port", "ui_port"}  # where and how quickly, not what
TOLD = ("*.yaml", "sources/*.y*ml", "programmes/*.y*ml")


def rules(workspace: Workspace) -> str:
    """A name for all that a run is told: the workspace's rules, the settings, and the code itself; the same name, the same run."""
    told = [(workspace.home, pattern) for pattern in TOLD] + [(room, "**/*") for room in _rooms()]
    name = hashlib.sha256(repr(workspace.settings.model_dump(exclude=PLACES)).encode())
    for folder, pattern in told:
        for path in sorted(folder.glob(pattern)):
            if path.is_file() and path.parent.name != "__pycache__":
                name.update(repr((pattern, f"{path.relative_to(folder)}", _content(path))).encode())
    return name.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return os.urandom(32)  # it cannot be known: never the same


@cache
def at_load(workspace: Workspace) -> str:
    """The rules as they were when this process first asked: before it read them, where its definitions are loaded."""
    return rules(workspace)


def _rooms() -> list[Path]:
    found = [find_spec(room) for room in ROOMS]
    return [Path(place) for spec in found if spec for place in spec.submodule_search_locations or ()]


def since(workspace: Workspace, store: psycopg.Connection, now: datetime, *, same_model: bool) -> Standing | None:
    """The run since which nothing is new; None where something is, may be, or a run is under way.

    Args:
        workspace: The workspace.
        store: The owner's connection.
        now: The clock of the run that would be.
        same_model: Whether the lake was made with the identity model in use.
    """
    left = standing.last(store)
    if left is None or not same_model or not left.as_of <= now < left.as_of + FRESH:
        return None
    if left.touches != standing.touches(store) or inbox.pending(store)[0]:
        return None
    if landed.unseen(store, seen(workspace.path("landing"), load_sources(workspace))):
        return None
    with connect(lake_address(workspace)) as lake:
        same = left.snapshot_id == standing.snapshot(lake)
    return left if same and left.rules == rules(workspace) else None
