"""`cdp backup` and `cdp restore`."""

from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say
from cdp.clock import system_now
from cdp.settings import Settings
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import open_workspace


@app.command("backup")
def make(out: Annotated[Path, typer.Option("--out", help="A new folder for the backup.")]) -> None:
    """Back up the whole workspace into a folder. It is as personal as the workspace: keep it encrypted.

    Example: cdp backup --out /backups/cdp-2026-11-25
    """
    from cdp.backup import backup
    from cdp.privacy.trail import tell

    workspace, now = open_workspace(Settings()), system_now()
    with database(workspace):
        size = backup(workspace, out, now, say)
        with connect(owner_address(workspace)) as store:
            tell(workspace, store, "backup.made", {"bytes": size}, now)
    say(f"The backup is in {out}: {size / 1e6:,.1f} MB.")


@app.command("restore")
def bring_back(
    folder: Path,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the workspace that is there.")] = False,
) -> None:
    """Restore a backup into CDP_HOME. People erased since are erased again before anything opens; then run 'cdp run'.

    Example: CDP_HOME=/srv/cdp cdp restore /backups/cdp-2026-11-25
    """
    from cdp.restore import restore

    again = restore(Settings(), folder, system_now(), say, replace=replace)
    if again:
        say(f"{again:,} records of people erased since the backup were erased again.")
    say("Restored. Run 'cdp run' to bring everything up to date.")
