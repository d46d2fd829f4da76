"""The command line. Each command imports what it needs when it runs, so that `cdp --help` is quick."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cdp.errors import CdpError

app = typer.Typer(
    name="cdp",
    help="Omnichannel customer data platform: one profile, one set of consent flags, one loyalty balance.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def run() -> None:
    """Entry point: errors a person can act on are printed, not thrown."""
    from cdp.cli import commands  # noqa: F401 - registers the commands

    try:
        app()
    except CdpError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


Home = Annotated[Path | None, typer.Option("--home", help="The workspace; CDP_HOME by default.", show_default=False)]
