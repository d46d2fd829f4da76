"""Put the rows of a select into a table of the lake, in the way that costs least."""

from collections.abc import Callable
from typing import Any
from zlib import crc32

from cdp.lake.engine import Lake
from cdp.lake.register import REPLACED, Traced, described, entries, record, recorded

FILLED = 20  # runs on average that a table is filled before it is replaced
MOST_EMPTIED = 100_000  # rows: emptying reads where each of them is


def make(
    lake: Lake,
    table: str,
    query: str,
    mark: str,
    parameters: dict[str, Any] | None = None,
    lineage: Callable[[], Traced] = Traced,
    largest: int = 0,
) -> None:
    """Inside a transaction: the rows of a select become those of a table, which is noted.

    Args:
        lake: Where.
        table: Its name.
        query: The select.
        mark: What it is built from.
        parameters: Bound into the select.
        lineage: Gives where its columns come from.
        largest: Rows of the largest table that the select reads: of many rows nothing is kept in memory.
    """
    if largest > MOST_EMPTIED:
        lake.connection.execute(f"create or replace table lake.main.{table} as {query}", parameters)
        record(lake, table, mark, lineage())
    else:
        lake.connection.execute(f"create or replace temp table making as {query}", parameters)
        fill(lake, table, "making")
        record(lake, table, mark, lineage(), made="making")
        lake.connection.execute("drop table if exists temp.main.making")


def fill(lake: Lake, table: str, made: str) -> None:
    """Inside a transaction: the rows of a table in memory become those of a table of the lake.

    One that has these columns is emptied and filled. A new one in its place changes the schema of the lake, which every
    connection then reads again: ten times the cost of the rows. But the catalog counts every row a table ever had, joins
    are planned by that, and it keeps the least and greatest value of each column: so now and then a table is replaced, and
    all are by a rebuild and after a retention. A large one always is: emptying it would read where each row stands.
    """
    known = entries(lake).get(table)
    if (
        known is None
        or known.columns != described(lake, made)
        or known.rows > MOST_EMPTIED
        or has_its_turn(lake.run_id, table)
        or recorded(lake, REPLACED)
    ):
        lake.connection.execute(f"create or replace table lake.main.{table} as from {made}")
        return
    if known.rows:
        lake.connection.execute(f"delete from lake.main.{table}")  # whole files are let go, no row is marked
    lake.connection.execute(f"insert into lake.main.{table} from {made}")


def has_its_turn(run_id: str, table: str) -> bool:
    """Whether this run replaces the table, however small it is."""
    return crc32(f"{run_id} {table}".encode()) % FILLED == 0
