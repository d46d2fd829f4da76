"""`cdp simulate` and `cdp demo`: people who do not exist, and the whole product over them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say
from cdp.clock import parse_as_of, system_now
from cdp.settings import Settings


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
    from cdp.simulate.write import simulate as write  # noqa: PLC0415

    expected = write(people, seed, out, parse_as_of(until) if until else system_now(), say)
    for channel, counts in expected["rows"].items():
        say(f"{channel:<8} {counts['lines']:>10,} lines, {counts['quarantined']:,} damaged, {counts['duplicates']:,} sent twice")
    say(f"{expected['people']:,} people in {out}")
