"""Restore a backup: whoever was erased since it was made is erased again before anything opens.

The list of suppressed people and its key are merged, never replaced. Until all is done a marker keeps everybody out; a
restore that died in between is simply run again.
"""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cdp.backup import DUMP, FILES, FOLDERS, BackupError, check, program
from cdp.lake.engine import open_lake
from cdp.lake.tables import create_registers
from cdp.privacy import erase, purge, suppression, trail
from cdp.privacy.erase import Job
from cdp.settings import Settings
from cdp.sources.load import load_sources
from cdp.store import server, standing
from cdp.store.connect import API_ROLE, LAKE_SCHEMA, SCHEMA, connect, database, owner_address
from cdp.store.lock import queue
from cdp.store.migrate import migrate
from cdp.workspace import RESTORING, Workspace, create, write_whole

Log = Callable[[str], None]


def restore(settings: Settings, source: Path, now: datetime, log: Log, *, replace: bool = False) -> int:
    """Bring a workspace to the state of a backup; returns how many records of erased people were erased again.

    Args:
        settings: Whose `home` it becomes.
        source: The backup.
        now: When.
        log: Told the progress.
        replace: Overwrite a workspace that is there.

    Raises:
        BackupError: If the backup is damaged or of another workspace, or there is a workspace and `replace` is false.
    """
    made_at, workspace = check(source), Workspace(settings)
    if workspace.path("VERSION").exists() and not replace:
        raise BackupError(f"{workspace.home} is a workspace already", "add --replace to overwrite it, or set CDP_HOME")
    _same_people(workspace, source)
    workspace.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(workspace.path(RESTORING), made_at.isoformat())
    if settings.database_url is None and workspace.path("pg").exists():
        server.stop(workspace)
        shutil.rmtree(workspace.path("pg"))
    _copy(workspace, source, log)
    with database(workspace):
        migrate(workspace)  # makes database and roles
        with queue(workspace, "restore", wait=True, log=log):
            _api_may(workspace, "nologin")
            _load(workspace, source, log)
            _api_may(workspace, "nologin")
            again = _reapply(workspace, now, log)
            _rebase(workspace, made_at, now)
        _api_may(workspace, "login")
    workspace.path(RESTORING).unlink()
    return again


def _same_people(workspace: Workspace, source: Path) -> None:
    keys = [path / suppression.KEY for path in (workspace.path("privacy"), source / "privacy")]
    if all(key.exists() for key in keys) and keys[0].read_bytes() != keys[1].read_bytes():
        raise BackupError(
            "the backup's suppression list has another key: it is of another workspace",
            "restore it into a CDP_HOME of its own",
        )


def _copy(workspace: Workspace, source: Path, log: Log) -> None:
    for name in FOLDERS:
        if name != "privacy":
            log(f"copying {name}")
            shutil.rmtree(workspace.path(name), ignore_errors=True)
            if (source / name).is_dir():
                shutil.copytree(source / name, workspace.path(name), copy_function=shutil.copy2)
    for name in FILES:
        if (source / name).exists():
            shutil.copy2(source / name, workspace.path(name))
    _merge_privacy(workspace.path("privacy"), source / "privacy")
    create(workspace.settings)


def _merge_privacy(present: Path, stored: Path) -> None:
    """Every line of both lists; the key of whichever has one."""
    present.mkdir(mode=0o700, exist_ok=True)
    key = present / suppression.KEY
    if not key.exists() and (stored / suppression.KEY).exists():
        shutil.copy2(stored / suppression.KEY, key)
    lists = [
        path.read_text(encoding="utf-8").splitlines()
        for folder in (stored, present)
        if (path := folder / suppression.LIST).exists()
    ]
    lines = dict.fromkeys(line for found in lists for line in found)
    if lines:
        write_whole(present / suppression.LIST, "\n".join(lines) + "\n")


def _load(workspace: Workspace, source: Path, log: Log) -> None:
    """The dump into an empty database; roles and their passwords are those of the restored secrets."""
    with connect(owner_address(workspace)) as store:
        for schema in (SCHEMA, LAKE_SCHEMA):
            store.execute(f"drop schema if exists {schema} cascade")
    log("loading the database")
    program("pg_restore", owner_address(workspace), "--exit-on-error", "--no-password", str(source / DUMP))
    migrate(workspace)
    with connect(owner_address(workspace)) as store:
        standing.forget(store)  # lists merge and people are erased again: the next run looks at everything


def _api_may(workspace: Workspace, login: str) -> None:
    """Nobody is served until those who were erased are erased again."""
    with connect(owner_address(workspace)) as store:
        store.execute(f"alter role {API_ROLE} {login}")
        store.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [API_ROLE])


def _reapply(workspace: Workspace, now: datetime, log: Log) -> int:
    with open_lake(workspace, run_id="restore") as lake, connect(owner_address(workspace)) as store:
        create_registers(lake)
        job = Job(workspace, lake, store, load_sources(workspace), now, log)
        again = erase.reapply(job)
        if suppression.Suppression(workspace).entries():
            purge.sweep(job)
    return again


def _rebase(workspace: Workspace, made_at: datetime, now: datetime) -> None:
    """The audit chain goes on from the backup; the head that was kept beside it is noted in the log and set aside."""
    head = trail.read_head(workspace)
    path = workspace.path("privacy", trail.HEAD)
    if head is not None:
        path.rename(path.with_name(f"audit_head.{now:%Y%m%dT%H%M%S}.json"))
    details = {"backup": made_at.isoformat(), "head before": head and {"seal": head.seal_id, "hash": head.hash}}
    with connect(owner_address(workspace)) as store:
        trail.tell(workspace, store, "backup.restored", json.loads(json.dumps(details)), now)
