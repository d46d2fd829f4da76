"""`cdp sql` and `cdp source`: look into the lake, add a channel."""

import json
import sys
from collections import Counter
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.errors import CdpError, ConfigError
from cdp.settings import Settings
from cdp.store.connect import database
from cdp.workspace import Workspace, open_workspace

source_commands = typer.Typer(help="Sources: the channels that are read.", no_args_is_help=True)
app.add_typer(source_commands, name="source")


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


@app.command()
def sql(
    query: str,
    format: Annotated[Format, typer.Option(help="How to write the result.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="A file instead of the terminal.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Also what no finished run has released yet.")] = False,
) -> None:
    """Ask the lake, read-only, at the newest released snapshot.

    Example: cdp sql "select source, sum(lines) from ops__reconciliation group by all" --format csv
    """
    import duckdb

    from cdp.lake.engine import open_lake

    if format is Format.PARQUET and out is None:
        raise ConfigError("Parquet cannot be printed", "add --out FILE.parquet")
    workspace = open_workspace(Settings())
    with (
        database(workspace),
        open_lake(workspace, read_only=True, snapshot=None if newest else _released(workspace)) as lake,
    ):
        try:
            result = lake.connection.execute(query).to_arrow_table()
        except duckdb.Error as error:
            raise CdpError(str(error).strip().splitlines()[0], 'cdp sql "show tables" lists what there is') from error
    seen: Counter[str] = Counter()
    names = []
    for name in result.column_names:  # a query may name two columns alike, a table may not
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    _write(result.rename_columns(names), format, out)


def _released(workspace: Workspace) -> int | None:
    """The newest released snapshot: a run in progress is not seen half finished."""
    from cdp.store import releases
    from cdp.store.connect import connect, owner_address

    with connect(owner_address(workspace)) as store:
        found = releases.newest(store)
    return found[0].snapshot_id if found else None


def _write(result: Any, format: Format, out: Path | None) -> None:
    import polars as pl

    frame = pl.DataFrame(result)
    if format is Format.PARQUET:
        frame.write_parquet(out or sys.stdout.buffer)
        return
    if format is Format.CSV:
        flat = frame.with_columns(
            pl.col(n).map_elements(str, pl.String) for n, t in frame.schema.items() if t.is_nested()
        )
        text = flat.write_csv()
    elif format is Format.JSON:
        text = json.dumps(frame.rows(named=True), default=str, ensure_ascii=False, indent=1) + "\n"
    else:
        text = table(frame.columns, frame.rows()) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


@source_commands.command()
def add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A sample of the new source.")],
    name: Annotated[str, typer.Option(help="Name of the source; the file's by default.")] = "",
    encoding: Annotated[str, typer.Option(help="Of a text file (utf-8, gb18030, latin-1 …).")] = "utf-8",
) -> None:
    """Draft the YAML of a new source from a sample, and check it.

    Example: cdp source add exports/online_retail.parquet --name online_retail
    """
    import re

    from cdp.sources import draft
    from cdp.sources.model import Source
    from cdp.yamlfile import load_yaml

    workspace = open_workspace(Settings())
    chosen = re.sub(r"[^a-z0-9]+", "_", (name or file.name.split(".")[0]).lower()).strip("_")
    chosen = chosen if chosen[:1].isalpha() else f"source_{chosen}".rstrip("_")
    target = workspace.path("sources", f"{chosen}.yaml")
    if target.exists():
        raise ConfigError(f"{target} exists", "edit that file, or choose another --name")
    drafted = draft.draft(file, chosen, encoding)
    Source.model_validate(drafted)  # a draft that cannot be used must not be left behind
    text = draft.to_yaml(drafted)
    target.write_text(text, encoding="utf-8")
    rows, bad, reasons = draft.check(file, load_yaml(target, Source))
    workspace.path("landing", chosen).mkdir(mode=0o700, exist_ok=True)
    print(target)
    say(f"{rows:,} sample rows, {bad:,} break the contract" + "".join(f"\n  {reason}" for reason in reasons))
    say(f"Read the draft, then put files into {workspace.path('landing', chosen)} and run 'cdp run'.")


@source_commands.command()
def use(name: Annotated[str, typer.Argument(help="shopify, zendesk …; without it they are listed.")] = "") -> None:
    """Take a source that ships with the platform: its YAML is yours to change.

    Example: cdp source use shopify
    """
    library = {item.name.removesuffix(".yaml"): item for item in (resources.files("cdp") / "defaults" / "library").iterdir() if item.name.endswith(".yaml")}  # fmt: skip
    if not name:
        print("\n".join(sorted(library)))
        return
    if name not in library:
        raise ConfigError(
            f"no source '{name}' ships",
            f"choose from {', '.join(sorted(library))}, or draft one: 'cdp source add FILE'",
        )
    workspace = open_workspace(Settings())
    target = workspace.path("sources", f"{name}.yaml")
    if target.exists():
        raise ConfigError(f"{target} exists", "edit that file")
    target.write_text(library[name].read_text(encoding="utf-8"), encoding="utf-8")
    folder = workspace.path("landing", name)
    folder.mkdir(mode=0o700, exist_ok=True)
    print(target)
    say(f"Read it, then put files into {folder} and run 'cdp run'.")


@source_commands.command("list")
def list_sources() -> None:
    """List the sources and what was read from each."""
    from cdp.lake.engine import open_lake
    from cdp.sources.load import load_sources

    workspace: Workspace = open_workspace(Settings())
    query = "select source, count(*), sum(accepted) from ops__reconciliation group by all"
    with database(workspace), open_lake(workspace, read_only=True) as lake:
        read = {s: (f, int(a)) for s, f, a in lake.rows(query)} if lake.exists("ops__reconciliation") else {}
    rows = [(s.source, s.format, s.raw_table, *read.get(s.source, (0, 0))) for s in load_sources(workspace)]
    print(table(["source", "format", "table", "files", "rows"], rows))
