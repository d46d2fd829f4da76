"""`cdp simulate` and `cdp demo`: people who do not exist, and the whole product over them."""

import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say
from cdp.clock import parse_as_of, system_now
from cdp.errors import CdpError
from cdp.settings import Settings
from cdp.workspace import Workspace

if TYPE_CHECKING:
    import psycopg


@app.command()
def simulate(
    people: Annotated[int, typer.Option(min=1, help="How many people.")] = 5_000,
    seed: Annotated[str, typer.Option(help="The same seed and --until write the same bytes.")] = "1",
    out: Annotated[Path, typer.Option(help="Folder for landing/ and truth/.")] = Path("simulated"),
    until: Annotated[str, typer.Option(help="Last day of the year that is told (2026-01-31); today by default.")] = "",
) -> None:
    """Write four channels of simulated people in the formats of real exports, with the truth.

    Example: cdp simulate --people 5000 --seed 7 --out /tmp/case --until 2026-01-31
    """
    from cdp.simulate.write import simulate as write

    expected = write(people, seed, out, parse_as_of(until) if until else system_now(), say)
    for channel, counts in expected["rows"].items():
        say(
            f"{channel:<8} {counts['lines']:>10,} lines, {counts['quarantined']:,} damaged, {counts['duplicates']:,} sent twice"
        )
    say(f"{expected['people']:,} people in {out}")


@app.command()
def demo(
    people: Annotated[int, typer.Option(min=1, help="How many people to simulate.")] = 5_000,
    seed: Annotated[str, typer.Option(help="Which people.")] = "1",
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve API and Dagster UI after the report.")
    ] = True,
) -> None:
    """The whole product in minutes: simulate, run, publish, report, serve until Ctrl-C.

    Example: cdp demo --no-serve
    """
    from cdp.cli.pipeline import initialise, run_pipeline
    from cdp.cli.report import demo_report
    from cdp.simulate.write import simulate as write
    from cdp.store.connect import database

    now = system_now()
    workspace = initialise(Settings())
    with database(workspace):
        case = workspace.path("simulated")
        if not (case / "truth" / "expected.json").exists():
            say(f"1/3 simulating {people:,} people …")
            write(people, seed, case, now, say)
            for file in sorted((case / "landing").rglob("*.gz")):
                target = workspace.path("landing") / file.relative_to(case / "landing")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(file, target)
        say("2/3 running the pipeline through Dagster …")
        run_pipeline(workspace)
        say("3/3 comparing with the truth …\n")
        print(demo_report(workspace, case / "truth", now), flush=True)
        if serve:
            serve_all(workspace)


def serve_all(workspace: Workspace) -> None:
    """API, console and Dagster UI until Ctrl-C, with a fresh key and a fresh password."""
    from cdp.cli.serve import api_process, dagster_process, free_port, live_process, stop, wait_for
    from cdp.store import keys
    from cdp.store.connect import connect, owner_address

    settings = workspace.settings
    api_port, ui_port = free_port(settings.api_port), free_port(settings.ui_port)
    with connect(owner_address(workspace)) as store:
        name = f"demo-{system_now():%Y%m%d-%H%M%S}"
        key = keys.create(
            store,
            workspace.secrets["pepper"],
            name,
            ["profiles:read", "consent:read", "loyalty:read"],
            system_now(),
        )
        password = _console_user(store)
        example = store.execute("select min(value) from identifiers where type = 'account'").fetchall()[0][0]
    say("\nstarting API, console and Dagster UI …")
    processes = [
        api_process(workspace, "127.0.0.1", api_port),
        dagster_process(workspace, ui_port, quiet=True),
        live_process(workspace),
    ]
    try:
        wait_for(f"http://127.0.0.1:{api_port}/readyz", processes[0])
        wait_for(f"http://127.0.0.1:{ui_port}/server_info", processes[1])
        print(
            f"\nConsole    http://127.0.0.1:{api_port}/console (name: demo, password: {password})\n"
            f"API        http://127.0.0.1:{api_port}/docs\nDagster UI http://127.0.0.1:{ui_port}\nAPI key    {key}\n\n"
            f"try: curl -s -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n"
            f'       -d \'{{"value": "{example}"}}\' http://127.0.0.1:{api_port}/v1/customers/lookup\n'
            "Ctrl-C stops everything.",
            flush=True,
        )
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        raise CdpError("a server ended by itself", f"look into {workspace.path('logs')}")
    finally:
        for process in processes:
            stop(process)


def _console_user(store: "psycopg.Connection") -> str:
    """The demo's account of the console, with another password each time; the password."""
    from cdp import access
    from cdp.store import users

    password = secrets.token_urlsafe(12)
    if any(user.name == "demo" for user in users.every(store)):
        users.change(store, "demo", password_hash=access.hashed(password, "demo"))
    else:
        users.create(store, "demo", access.hashed(password, "demo"), ["admin"], "en", system_now())
    return password
