"""`cdp quarantine`: what was rejected and why, correcting it by rule or by hand, reading it again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.errors import ConfigError, NotFound
from cdp.settings import Settings
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from cdp.lake.engine import Lake
    from cdp.quarantine.replay import Corrected
    from cdp.sources.model import Source

quarantine = typer.Typer(help="Rejected rows: list, show, correct, replay.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")
Preview = Annotated[bool, typer.Option("--preview", help="Only say what would become of them.")]


@contextmanager
def _opened(source: str, action: str) -> Iterator[tuple[Workspace, "Lake", "Source"]]:
    """The lake in writing, under the queue; who looked or wrote is in the audit log."""
    from cdp.clock import system_now
    from cdp.lake.engine import open_lake
    from cdp.lake.tables import create_registers
    from cdp.privacy.trail import tell
    from cdp.sources.load import load_sources
    from cdp.store.lock import queue

    workspace = open_workspace(Settings())
    found = {held.source: held for held in load_sources(workspace)}
    if source not in found:
        raise ConfigError(f"there is no source {source}", f"choose from {', '.join(sorted(found))}")
    with database(workspace), queue(workspace, action, wait=True, log=say), open_lake(workspace) as lake:
        create_registers(lake)
        with connect(owner_address(workspace)) as store:
            tell(workspace, store, action, {"source": source}, system_now())
        yield workspace, lake, found[source]


@quarantine.command("list")
def list_reasons(json_out: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Count what waits, by source, column and check.

    Example: cdp quarantine list
    """
    from cdp.lake.engine import open_lake
    from cdp.quarantine.rows import reasons

    workspace = open_workspace(Settings())
    with database(workspace), open_lake(workspace, read_only=True) as lake:
        found = reasons(lake) if lake.exists("ops__rejected_rows") else []
    if json_out:
        print(json.dumps(found))
        return
    columns = ("source", "column", "check", "waiting", "replayed", "files_left_out", "example")
    rows = [tuple(row[name] if row[name] is not None else "" for name in columns) for row in found]
    print(table([name.replace("_", " ") for name in columns], rows) if rows else "nothing was rejected")


@quarantine.command()
def show(
    source: str,
    limit: Annotated[int, typer.Option(help="Lines.", min=1)] = 20,
) -> None:
    """Show rejected lines as they came. They are personal data: that they were shown is in the audit log.

    Example: cdp quarantine show pos --limit 5
    """
    from cdp.quarantine.rows import waiting

    with _opened(source, "quarantine.show") as (_, lake, held):
        for row in waiting(lake, held)[:limit]:
            why = "; ".join(f"{column or 'line'}: {', '.join(sorted(checks))}" for column, checks in row.checks.items())
            print(f"{row.file}:{row.line}: {why}\n{row.payload}")


@quarantine.command()
def replay(
    source: str,
    rules: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Rules in YAML.")],
    preview: Preview = False,
) -> None:
    """Correct rejected lines by rules and read them again.

    A rule names a column and says what to write: `replace: {"": GBP}`, or `match` (a regular expression) and `put`.

    Examples: cdp quarantine replay pos mend.yaml --preview · cdp quarantine replay pos mend.yaml
    """
    from cdp.quarantine.replay import by_rules, correct
    from cdp.quarantine.rules import Rules
    from cdp.yamlfile import load_yaml

    said = load_yaml(rules, Rules)
    if said.source != source:
        raise ConfigError(f"{rules.name} is about {said.source}, not {source}", "name the source that it is about")
    with _opened(source, "quarantine.replay") as (workspace, lake, held):
        unknown = sorted({rule.column for rule in said.rules} - set(held.columns))
        if unknown:
            raise ConfigError(f"{source} has no column {', '.join(unknown)}", f"it has {', '.join(held.columns)}")
        _finish(
            lake, workspace, correct(lake, workspace.path("landing"), held, by_rules(held, said.rules)), preview=preview
        )


@quarantine.command()
def mend(
    source: str,
    file: str,
    line: int,
    set_: Annotated[list[str], typer.Option("--set", help="column=value; repeat for several.")] = [],  # noqa: B006 - typer's way
    payload: Annotated[str, typer.Option("--line", help="The whole line, where it cannot be read by column.")] = "",
    preview: Preview = False,
) -> None:
    """Correct one rejected line by hand and read it again.

    Examples: cdp quarantine mend pos sales-1.csv.gz 118 --set currency=GBP · cdp quarantine mend web e.jsonl 7 --line '{…}'
    """
    from cdp.quarantine import replay as again
    from cdp.quarantine import rows

    pairs = dict(part.split("=", 1) for part in set_ if "=" in part)
    if bool(pairs) == bool(payload) or len(pairs) != len(set_):
        raise ConfigError("say what the line should say", "--set column=value, or --line with the whole line")
    with _opened(source, "quarantine.mend") as (workspace, lake, held):
        landing = workspace.path("landing")
        found = rows.waiting(lake, held, (file, line))
        if not found:
            raise NotFound(f"line {line} of {file} does not wait in the quarantine", "cdp quarantine show " + source)
        if unknown := sorted(set(pairs) - set(held.columns)):
            raise ConfigError(f"{source} has no column {', '.join(unknown)}", f"it has {', '.join(held.columns)}")
        if payload:
            names = rows.header(landing, held, found[0])
            whole = rows.parsed(held, replace(found[0], payload=payload), names) if names is not None else None
            if whole is None:
                raise ConfigError("this is no line of that file", "write it as the file has it, with all its fields")
            _finish(lake, workspace, again.written(held, found[:1], [whole]), preview=preview)
            return

        def change(_: rows.Waiting, values: dict[str, Any]) -> bool:
            for column, value in pairs.items():
                rows.place(held, column)[1](values, value)
            return True

        _finish(lake, workspace, again.correct(lake, landing, held, change, (file, line)), preview=preview)


def _finish(lake: "Lake", workspace: Workspace, corrected: "Corrected", *, preview: bool) -> None:
    from cdp.quarantine import replay as again

    print(table(["lines", "number"], list(again.preview(lake, corrected).items())))
    if not preview:
        path = again.replay(lake, workspace.path("landing"), corrected)
        say(f"landing/{corrected.source.source}/{path.name} holds them; 'cdp run' reads it")
