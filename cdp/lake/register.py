"""The register of what each lake table was built from and what it holds; read once a connection, kept in step."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from cdp.lake.engine import Lake

FIRST = 5  # rows of a preview
FILLED = 20  # runs on average that a table is filled before it is replaced
REPLACED = "ops__builds#replaced"  # a mark: until the release tables are replaced, not filled
NOT_BUILT = ""  # fingerprint of a table that is there and was never built
MOST_EMPTIED = 100_000  # rows: emptying reads where each of them is
MOST_HELD = 50_000  # rows that stay in memory to the end of the run
NEWEST = "qualify row_number() over (partition by table_name order by rowid desc) = 1"
Lineage = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Entry:
    """One built table.

    Attributes:
        fingerprint: What it was built from.
        version: What it holds: an equal result stops the rebuild of everything after it.
        columns: Name and type of each column.
        lineage: Output column → (input table, input column) pairs.
        first: A few of its rows, where this connection made it; not kept.
    """

    fingerprint: str
    version: str
    rows: int
    columns: list[tuple[str, str]] = field(default_factory=list)
    lineage: Lineage = field(default_factory=dict)
    first: list[dict[str, Any]] | None = field(default=None, compare=False, repr=False)


def entries(lake: Lake) -> dict[str, Entry]:
    """Every built table that is still there."""
    if lake.register is None:
        present = lake.tables()
        lake.register = {
            table: Entry(fingerprint, version, int(rows), _pairs(columns), json.loads(lineage))
            for table, fingerprint, version, rows, columns, lineage in lake.rows(
                f"select table_name, fingerprint, version, rows, columns, lineage from ops__builds {NEWEST}"
            )
            if table in present or "#" in table
        }
    found: dict[str, Entry] = lake.register
    return found


def recorded(lake: Lake, table: str) -> str | None:
    """The fingerprint a table was last built with, None if it was never built."""
    entry = entries(lake).get(table)
    return entry.fingerprint if entry else None


def record(
    lake: Lake,
    table: str,
    mark: str,
    lineage: Lineage | None = None,
    content: str | None = None,
    read: tuple[str, int] | None = None,
    made: str | None = None,
    *,
    whole: bool = True,
) -> None:
    """Note a table, inside the transaction that makes it; the newest note of a table holds. A name with `#` is a mark without a table.

    Args:
        lake: Where.
        table: Its name.
        mark: What it was built from.
        lineage: Where its columns come from.
        content: What stands for its content where reading it all again would cost more than it saves.
        read: What it depends on beside its inputs, and the turn up to which it has read them (see `cdp.lake.delta`).
        made: Its rows in memory, which stay there for those that read the table in this run.
        whole: All of them; else some, which are good for a preview.
    """
    version, rows, columns, first = mark, 0, list[tuple[str, str]](), None
    if "#" not in table:
        source = made if made and whole else f"lake.main.{table}"
        version = content or summed(lake, source)
        rows = int(version.split(":")[0]) if ":" in version else int(lake.scalar(f"select count(*) from {source}"))
        columns = described(lake, source)
        # after the transaction the catalog would be read again for them
        first = _first(lake, made or source) or _first(lake, source)
        _hold(lake, table, made if whole and rows <= MOST_HELD else None)
    noted = {table: Entry(mark, version, rows, columns, lineage or {}, first)}
    if read:
        noted[f"{table}#read"] = Entry(read[0], read[0], read[1])
    known = entries(lake)
    insert(lake, "ops__builds", [_row(name, entry, lake.run_id) for name, entry in noted.items()])
    known.update(noted)


def compact(lake: Lake, most: int = 0, served: str = "") -> None:
    """Keep one note of each table: taking the older ones out at every note would read all that a run has noted so far.

    Args:
        lake: Where.
        most: How many older ones may stay.
        served: A mark that goes too.
    """
    older = int(lake.scalar("select count(*) - count(distinct table_name) from ops__builds"))
    if older > most or recorded(lake, served):
        lake.write(lambda: keep_newest(lake, served), "one note of each table")
        entries(lake).pop(served, None)


def keep_newest(lake: Lake, served: str = "") -> None:
    """Inside a transaction: take older notes out. Whoever rewrites the register does it before: rewriting gives rows other ids."""
    lake.rows(f"create or replace temp table newest_notes as select * from ops__builds {NEWEST}")
    lake.rows("delete from lake.main.ops__builds")
    lake.rows("insert into lake.main.ops__builds from newest_notes where table_name <> ?", [served])
    lake.rows("drop table newest_notes")


def make(
    lake: Lake,
    table: str,
    query: str,
    mark: str,
    parameters: dict[str, Any] | None = None,
    lineage: Callable[[], Lineage] = dict,
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
    all are after a retention. A large one always is: emptying it would read where each row stands.
    """
    known = entries(lake).get(table)
    columns = known.columns if known else _columns(lake, table)
    turn = crc32(f"{lake.run_id} {table}".encode()) % FILLED == 0
    if columns != described(lake, made) or (known and (turn or known.rows > MOST_EMPTIED)) or recorded(lake, REPLACED):
        lake.connection.execute(f"create or replace table lake.main.{table} as from {made}")
        return
    if known is None or known.rows:
        lake.connection.execute(f"delete from lake.main.{table}")  # whole files are let go, no row is marked
    lake.connection.execute(f"insert into lake.main.{table} from {made}")


def _first(lake: Lake, table: str) -> list[dict[str, Any]] | None:
    return lake.records(f"select * from {table} limit {FIRST}") if lake.folder else None


def _hold(lake: Lake, table: str, made: str | None) -> None:
    """Bare names read the rows in memory from now on: a statement over the lake costs more than the rows of most tables."""
    lake.connection.execute(f"drop table if exists temp.main.{table}")
    if made:
        lake.connection.execute(f"alter table {made} rename to {table}")


def let_go(lake: Lake) -> None:
    """Bare names read the lake again."""
    for (table,) in lake.rows("select distinct table_name from duckdb_columns() where database_name = 'temp'"):
        if table in entries(lake):
            lake.rows(f"drop table temp.main.{table}")


def _row(table: str, entry: Entry, run_id: str) -> tuple[Any, ...]:
    holds = (json.dumps(entry.columns), json.dumps(entry.lineage))
    return (table, entry.fingerprint, entry.version, entry.rows, *holds, run_id)


def _columns(lake: Lake, table: str) -> list[tuple[str, str]]:
    """Name and type of each column of a table of the lake; none where it is not there."""
    query = "select column_name, data_type from duckdb_columns() where database_name = 'lake' and table_name = ? order by column_index"
    return [(str(name), str(kind)) for name, kind in lake.rows(query, [table])]


def described(lake: Lake, table: str) -> list[tuple[str, str]]:
    """Name and type of each column of a table."""
    return [(str(row[0]), str(row[1])) for row in lake.connection.execute(f"describe {table}").fetchall()]


def insert(lake: Lake, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Inside a transaction: a few rows more in a register, as one file."""
    if not rows:
        return
    marks = f"({', '.join('?' * len(rows[0]))})"
    values = [value for row in rows for value in row]
    lake.connection.execute(f"insert into lake.main.{table} values {', '.join([marks] * len(rows))}", values)


def summed(lake: Lake, table: str) -> str:
    """What stands for a table's content: its rows, and the sum of their hashes."""
    count, total = lake.rows(f"select count(*), coalesce(sum(hash(t)), 0) from {table} as t")[0]
    return f"{count}:{total}"


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind in json.loads(text)]
