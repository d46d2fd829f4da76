"""A backup: one dump of the one PostgreSQL (store and lake catalog), then the files that it names, with their checksums.

Runs, cleanup and redaction are held while it is made, so that dump and files belong together. The folder is as personal
as the workspace and holds its secrets: keep it encrypted, and let it end (see docs/privacy.md).
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from cdp.errors import CdpError
from cdp.store.connect import Address, owner_address
from cdp.store.lock import queue
from cdp.store.server import binaries
from cdp.workspace import RULES, Workspace, write_whole

FOLDERS = ("lake", "landing", "models", "sources", "programmes", "privacy")
FILES = ("secret.key", "VERSION", *RULES)
DUMP, MANIFEST, FORMAT = "database.dump", "manifest.json", "cdp-backup-1"


class BackupError(CdpError):
    """A backup that cannot be made or used."""

    title = "Backup error"


def backup(workspace: Workspace, target: Path, now: datetime, log: Callable[[str], None]) -> int:
    """Write a backup into a new folder; returns its bytes. A folder without a manifest is no backup.

    Raises:
        BackupError: If the folder is not empty, or the dump fails.
    """
    if target.exists() and any(target.iterdir()):
        raise BackupError(f"{target} is not empty", "name a new folder")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with queue(workspace, "backup", wait=True, log=log):
        log("dumping the database")
        program("pg_dump", owner_address(workspace), "--format=custom", "--no-password", f"--file={target / DUMP}")
        for name in FOLDERS:
            log(f"copying {name}")
            if workspace.path(name).is_dir():
                shutil.copytree(workspace.path(name), target / name, copy_function=shutil.copy2)
        for name in FILES:
            if workspace.path(name).exists():  # an older workspace may lack one
                shutil.copy2(workspace.path(name), target / name)
    sums = {str(path.relative_to(target)): _sum(path) for path in files(target)}
    write_whole(target / MANIFEST, json.dumps({"format": FORMAT, "made_at": now.isoformat(), "files": sums}, indent=1))
    return sum(path.stat().st_size for path in files(target))


def check(source: Path) -> datetime:
    """Check a backup whole; returns when it was made.

    Raises:
        BackupError: If it is none, or a file is missing or changed.
    """
    try:
        manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackupError(f"{source} holds no whole backup", "name the folder that 'cdp backup' wrote") from error
    if manifest.get("format") != FORMAT:
        raise BackupError(f"{source} has another format than {FORMAT}", "restore it with the version that made it")
    for name, expected in manifest["files"].items():
        path = source / name
        if not path.is_file() or _sum(path) != expected:
            raise BackupError(f"{name} of the backup is missing or damaged", "use another backup")
    return datetime.fromisoformat(manifest["made_at"])


def files(folder: Path) -> Iterator[Path]:
    """The files of a backup but its manifest, in order."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)


def program(name: str, address: Address, *arguments: str) -> None:
    """Run one of PostgreSQL's programs; the password travels in the environment, never in the command.

    Raises:
        BackupError: If it fails; its own words, which name objects and not rows.
    """
    fields = dict(address.fields)
    secret = {"PGPASSWORD": fields.pop("password", ""), "PGCONNECT_TIMEOUT": fields.pop("connect_timeout", "10")}
    target = " ".join(f"{key}='{value}'" for key, value in fields.items() if value)
    command = [str(binaries() / name), f"--dbname={target}", *arguments]
    done = subprocess.run(command, env=os.environ | secret, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise BackupError(f"{name} failed: {last[:300]}", "run 'cdp doctor'")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
