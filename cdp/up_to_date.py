"""Whether a run would find anything: it costs a moment to ask, and many seconds to go through every table for nothing."""

import hashlib
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import psycopg

from cdp.sources.landing import seen
from cdp.sources.load import load_sources
from cdp.store import inbox, landed, standing
from cdp.store.connect import connect, lake_address
from cdp.store.standing import Standing
from cdp.workspace import Workspace

FRESH = timedelta(hours=1)  # what time alone changes (points end, a grant runs out) is brought up to date after that
ROOMS = ("cdp", "identity", "assets")
PLACES = {"home", "threads", "memory_limit", "api_host", "api_port", "ui_port"}  # where and how quickly, not what
TOLD = ("*.yaml", "sources/*", "programmes/*")


def rules(workspace: Workspace) -> str:
    """A name for all that a run is told: the workspace's rules, the settings, and the code itself; the same name, the same run."""
    told = [(workspace.home, pattern) for pattern in TOLD] + [(room, "**/*") for room in _rooms()]
    states = sorted(_state(folder, path) for folder, pattern in told for path in folder.glob(pattern) if _says(path))
    settings = workspace.settings.model_dump(exclude=PLACES)
    return hashlib.sha256(repr((states, settings)).encode()).hexdigest()


def _says(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"


def _state(folder: Path, path: Path) -> tuple[str, str, int, int]:
    """The workspace may move: its own name says nothing."""
    found = path.stat()
    return folder.name if folder.name in ROOMS else "", f"{path.relative_to(folder)}", found.st_size, found.st_mtime_ns


def _rooms() -> list[Path]:
    found = [find_spec(room) for room in ROOMS]
    return [Path(place) for spec in found if spec for place in spec.submodule_search_locations or ()]


def since(workspace: Workspace, store: psycopg.Connection, now: datetime, model: str) -> Standing | None:
    """The run since which nothing is new; None where something is, or may be.

    Args:
        workspace: The workspace; its queue is held, so that no run changes anything meanwhile.
        store: The owner's connection.
        now: The clock of the run that would be.
        model: The model in use, where the lake was made with another.
    """
    left = standing.last(store)
    if left is None or model or now.date() != left.as_of.date() or not left.as_of <= now < left.as_of + FRESH:
        return None
    if left.touches != standing.touches(store) or inbox.pending(store)[0]:
        return None
    if landed.unseen(store, seen(workspace.path("landing"), load_sources(workspace))):
        return None
    with connect(lake_address(workspace)) as lake:
        same = left.snapshot_id == standing.snapshot(lake)
    return left if same and left.rules == rules(workspace) else None
