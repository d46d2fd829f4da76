"""`cdp programme`: the loyalty programmes that ship, the workspace's own, checked and tried on the past."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.errors import ConfigError
from cdp.settings import Settings
from cdp.workspace import open_workspace

commands = typer.Typer(help="Loyalty programmes: shown, checked, tried on the past.", no_args_is_help=True)
app.add_typer(commands, name="programme")
SHIPPED = resources.files("cdp") / "defaults" / "programmes"


@commands.command("list")
def list_() -> None:
    """The programmes that ship, and the versions of the workspace's own."""
    from cdp.loyalty.programme import load_programme, read_programme

    shipped = [
        read_programme(Path(str(item)))
        for item in sorted(SHIPPED.iterdir(), key=lambda i: i.name)
        if item.name.endswith(".yaml")
    ]
    own = load_programme(open_workspace(Settings())).versions
    rows = [
        (where, p.programme, p.version, p.starts or "", ", ".join(u.code for u in p.units), ", ".join(step.code for x in p.ladders for step in x.levels), ", ".join(plan.code for plan in p.plans))
        for where, found in (("workspace", own), ("shipped", shipped))
        for p in found
    ]  # fmt: skip
    print(table(["where", "programme", "version", "starts", "units", "levels", "plans"], rows))


@commands.command()
def show(name: str) -> None:
    """Print the YAML of a programme that ships, to begin one's own with.

    Example: cdp programme show starbucks > .cdp/programmes/mine.yaml
    """
    path = SHIPPED / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(
            sorted(item.name.removesuffix(".yaml") for item in SHIPPED.iterdir() if item.name.endswith(".yaml"))
        )
        raise ConfigError(f"no programme {name} ships", f"choose one of {names}")
    print(path.read_text(encoding="utf-8"), end="")


@commands.command()
def check(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]) -> None:
    """Check a programme's YAML: every mistake with its line.

    Example: cdp programme check mine.yaml
    """
    from cdp.loyalty.programme import read_programme

    found = read_programme(file)
    say(
        f"{found.programme} version {found.version}: {len(found.units)} units, {len(found.rules)} rules, {len(found.ladders)} ladders"
    )


@commands.command()
def whatif(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Another version, or another programme.")],
    as_of: Annotated[str, typer.Option(help="Units that end by this day have ended; now by default.")] = "",
) -> None:
    """Replay all past orders and events under another programme: what it would have given, cost and owe, and who holds which level.

    Nothing is posted. Under the programme as it is, the ledger as it is comes out.

    Example: cdp programme whatif mine.yaml --as-of 2026-01-31
    """
    from cdp.clock import parse_as_of, system_now
    from cdp.lake.engine import open_lake
    from cdp.loyalty.programme import load_programme, read_programme
    from cdp.loyalty.replay import Replay, replay
    from cdp.store.connect import connect, database, owner_address

    workspace, other = open_workspace(Settings()), read_programme(file)
    now = parse_as_of(as_of) if as_of else system_now()
    present = load_programme(workspace).at(now)
    found: dict[str, Replay] = {}
    with database(workspace), connect(owner_address(workspace)) as store, open_lake(workspace, read_only=True) as lake:
        for label, programme in (("as it is", present), ("what if", other)):
            found[label] = replay(lake, store, programme, present, now, say)
    units = sorted({unit for one in found.values() for unit in one.units})
    rows: list[tuple[object, ...]] = []
    for unit in units:
        sides = [one.units.get(unit) for one in found.values()]
        for kind in ("earn", "clawback", "redeem", "restore", "adjust", "opening", "expire"):
            rows.append((unit, kind, *((side.moved[kind] if side else None) for side in sides)))
        for name in ("outstanding", "owed", "liability", "cost"):
            rows.append((unit, name, *((getattr(side, name) if side else None) for side in sides)))
    levels = sorted({level for one in found.values() for level in one.levels})
    rows += [("level", level, *(one.levels[level] for one in found.values())) for level in levels]
    print(
        table(
            ["unit", "measure", *found],
            [tuple("" if v is None else f"{v:,}" if not isinstance(v, str) else v for v in row) for row in rows],
        )
    )
    say(f"{found['what if'].customers:,} known customers")
