"""`cdp init`, `cdp run`, `cdp dagster`: make a workspace, run the pipeline, look at it."""

import time
from datetime import datetime
from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say
from cdp.errors import CdpError
from cdp.settings import Settings
from cdp.store.connect import connect, database, owner_address
from cdp.store.standing import Standing
from cdp.workspace import Workspace, create, open_workspace


def initialise(settings: Settings) -> Workspace:
    """Make or migrate the workspace, its database and its lake."""
    from cdp.lake.engine import create_lake, open_lake
    from cdp.lake.tables import create_registers
    from cdp.store.migrate import migrate

    workspace = create(settings)
    with database(workspace):
        migrate(workspace)
        create_lake(workspace)
        with open_lake(workspace) as lake:
            create_registers(lake)
        _mend_ledger(workspace)
    return workspace


def _mend_ledger(workspace: Workspace) -> None:
    """What an older version derived differently is derived anew before anybody is served."""
    from cdp.clock import system_now
    from cdp.loyalty.programme import load_programme
    from cdp.store import books

    programme = load_programme(workspace)
    with connect(owner_address(workspace)) as store:
        if any(books.unbalanced(store, programme.programme, unit.code) for unit in programme.units):
            from cdp.loyalty.reconcile import mend

            mend(store, programme, system_now(), say)


@app.command()
def init() -> None:
    """Make the workspace (or bring an older one up to date).

    Example: CDP_HOME=/srv/cdp cdp init
    """
    workspace = initialise(Settings())
    say(f"The workspace is {workspace.home}")
    say("Put files into landing/<source>/, then run 'cdp run'.")


@app.command()
def run(
    as_of: Annotated[str, typer.Option("--as-of", help="The run's clock: RFC 3339 or a date. Now by default.")] = "",
    full: Annotated[bool, typer.Option("--full", help="Build every table from scratch.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Go through every step also where nothing is new.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for a run in progress, or say so and stop.")
    ] = True,
) -> None:
    """Run the whole pipeline over what is new: the same job that the Dagster UI runs. Where nothing is new it says so.

    Examples: cdp run · cdp run --as-of 2011-12-09 · cdp run --no-wait · cdp run --force
    """
    workspace = open_workspace(Settings())
    run_pipeline(workspace, as_of=as_of, full=full, force=force, wait=wait)


def run_pipeline(
    workspace: Workspace, *, as_of: str = "", full: bool = False, force: bool = False, wait: bool = True
) -> None:
    """Run the job and print what it did; before that, look whether there is anything to do.

    Raises:
        CdpError: If the run failed; the message is the error that stopped it.
    """
    from cdp.cli import summary
    from cdp.clock import parse_as_of, system_now
    from cdp.sources.load import load_sources, unknown_folders
    from cdp.store.migrate import require_migrated

    now = parse_as_of(as_of) if as_of else system_now()
    sources = load_sources(workspace)
    for folder in unknown_folders(workspace, sources):
        say(
            f"warning: landing/{folder} has no source: its files are not read\n  → run 'cdp source add landing/{folder}/FILE'"
        )
    started = time.monotonic()
    with database(workspace):
        with connect(
            owner_address(workspace)
        ) as store:  # an unreachable database is said here, not in the middle of a run
            require_migrated(store)
        if not wait:
            _refuse_if_busy(workspace)
        if not (full or force) and (left := _nothing_new_since(workspace, now)):
            say(summary.of_state(workspace))
            say(f"nothing is new since run {left.run_id[:8]} ended on {left.finished_at:%Y-%m-%d at %H:%M} UTC: no file, event, decision, setting or model\n"
                "  → run 'cdp run --force' to go through every step all the same")  # fmt: skip
            return
        from assets import launch  # slow to load

        succeeded, run_id = launch.run_job(workspace.path("dagster"), as_of=as_of, full=full, wait=wait)
        if not succeeded:
            cause = launch.failure(workspace.path("dagster"), run_id)
            raise CdpError(
                f"run {run_id[:8]} failed: {cause}",
                f"{_remedy(cause, workspace.settings.memory_limit)}: what was committed is kept; 'cdp dagster' shows the whole run",
            )
        say(summary.of_run(workspace, run_id, time.monotonic() - started))


def _nothing_new_since(workspace: Workspace, now: datetime) -> Standing | None:
    from cdp import up_to_date
    from identity import artefact

    with connect(owner_address(workspace)) as store:
        return up_to_date.since(workspace, store, now, same_model=artefact.is_used(workspace.path("models")))


def _remedy(cause: str, memory: str) -> str:
    if "Out of Memory" in cause or "OutOfMemory" in cause:
        return f"give the engine more memory than {memory} (CDP_MEMORY_LIMIT=4GB) and run again"
    return "mend the cause and run again"


def _refuse_if_busy(workspace: Workspace) -> None:
    from cdp.store.lock import queue

    with queue(workspace, "check", wait=False, log=say):
        pass


@app.command()
def dagster(
    port: Annotated[int | None, typer.Option(help="Port of the UI; CDP_UI_PORT by default.")] = None,
) -> None:
    """Start the Dagster UI over this workspace, until Ctrl-C.

    Example: cdp dagster --port 3000
    """
    from cdp.cli.serve import dagster_process

    workspace = open_workspace(Settings())
    with database(workspace):
        process = dagster_process(workspace, port or workspace.settings.ui_port)
        raise SystemExit(process.wait())
