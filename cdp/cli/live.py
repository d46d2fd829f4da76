"""`cdp live`: what channels send, seen at once."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say
from cdp.errors import CdpError
from cdp.settings import Settings
from cdp.store.attend import absent
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace


@app.command()
def live(
    check: Annotated[bool, typer.Option("--check", help="Only say whether one is at work; for health checks.")] = False,
) -> None:
    """See what channels send within a second, keep audiences and tiers, and call webhooks, until Ctrl-C.

    Timeline, consent, points and provisional customers are written ahead of the run. `cdp serve` starts it beside the
    API. Without it events wait for the next run, changes for the next start, and nothing is lost.

    Example: cdp live
    """
    workspace, stop = open_workspace(Settings()), threading.Event()
    if check:
        _check(workspace)
        return
    from cdp.derived.follower import Follower
    from cdp.live.worker import Worker
    from cdp.webhooks.deliver import Courier
    from identity.arrive import attach
    from identity.ids import uuid7

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    with database(workspace):
        say("What channels send is seen at once, webhooks are called; Ctrl-C ends it.")
        workers = (Worker(workspace, attach, uuid7), Courier(workspace), Follower(workspace))
        with ThreadPoolExecutor(len(workers)) as pool:
            for done in [pool.submit(_until, worker.run, stop) for worker in workers]:
                done.result()  # what ended one of them ends the command, so that whoever keeps it up starts it again


def _check(workspace: Workspace) -> None:
    with connect(owner_address(workspace)) as store:
        missing = absent(store)
    if missing:
        raise CdpError(f"not at work: {', '.join(missing)}", "start 'cdp live', or look at its log")
    say("at work")


def _until(run: Callable[[threading.Event], None], stop: threading.Event) -> None:
    try:
        run(stop)
    finally:
        stop.set()
