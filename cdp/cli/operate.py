"""`cdp doctor`, `cdp stop`, `cdp serve`: keep it running."""

from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say
from cdp.settings import Settings
from cdp.store.connect import database
from cdp.workspace import Workspace, open_workspace


@app.command()
def doctor() -> None:
    """Check the deployment: what is wrong, and how to mend it."""
    from cdp.doctor import examine

    wrong = 0
    for finding in examine(Settings()):
        print(f"{'✓' if finding.sound else '✗'} {finding.name:<14} {finding.detail}")
        if not finding.sound:
            wrong += 1
            print(f"  → {finding.remedy}")
    if wrong:
        raise typer.Exit(1)


@app.command()
def stop() -> None:
    """Stop the embedded database, whoever uses it. What was committed is safe."""
    from cdp.store import server

    workspace = Workspace(Settings())
    if workspace.settings.database_url is not None:
        say("The database is external: stop it where it runs.")
        return
    stopped = server.stop(open_workspace(Settings()))
    say("The database is stopped." if stopped else "The database was not running.")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; CDP_API_HOST by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; CDP_API_PORT by default.")] = None,
    live: Annotated[bool, typer.Option(help="See events at once ('cdp live') beside it.")] = True,
) -> None:
    """Serve the API until Ctrl-C. Its documentation is at /docs. Its log, a JSON line for each request, goes to stderr.

    Example: cdp serve --port 8000
    """
    import uvicorn

    from api.app import from_environment
    from cdp.cli.serve import live_process, stop

    settings = Settings()
    workspace = open_workspace(settings)
    with database(workspace):
        where = f"http://{host or settings.api_host}:{port or settings.api_port}"
        say(f"The API is at {where}, its documentation at {where}/docs")
        beside = [live_process(workspace)] if live else []
        try:
            uvicorn.run(from_environment(), host=host or settings.api_host, port=port or settings.api_port, log_level="warning", access_log=False)  # fmt: skip
        finally:
            for process in beside:
                stop(process)
