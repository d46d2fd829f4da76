"""The register of what each lake table was built from and what it holds; read once a connection, kept in step."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdp.errors import LakeError
from cdp.lake import held
from cdp.lake.engine import Lake

FIRST = 5  # rows of a preview
REPLACED = "ops__builds#replaced"  # a mark: until the release tables are replaced, not filled
NOT_BUILT = ""  # fingerprint of a table that is there and was never built
NEWEST = "qualify row_number() over (partition by table_name order by rowid desc) = 1"
Lineage = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Traced:
    """Where a table's columns come from, and by what (text, columns that it reads, version of the tracing) it was found."""

    lineage: Lineage = field(default_factory=dict)
    by: str = ""


NOWHERE = Traced()


@dataclass(frozen=True)
class Entry:
    """One table; its fingerprint is NOT_BUILT where it is there and was never built.

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
    """Every table that is noted and still there."""
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
    return entry.fingerprint or None if entry else None


def require(lake: Lake, tables: Iterable[str]) -> None:
    """Refuse to read tables that were never built; those the pipeline makes are there all the same, and empty.

    Raises:
        LakeError: Which ones, and what to do.
    """
    known = entries(lake)
    if missing := [table for table in tables if table not in known or known[table].fingerprint == NOT_BUILT]:
        raise LakeError(f"table {', '.join(missing)} was never built", "run the whole pipeline once: 'cdp run'")


def record(
    lake: Lake,
    table: str,
    mark: str,
    traced: Traced = NOWHERE,
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
        traced: Where its columns come from.
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
        first = _first(lake, made or source)
        if made and not whole and rows and not first:
            first = _first(lake, source)
        held.hold(lake, table, made if whole and rows <= held.MOST else None)
    noted = {table: Entry(mark, version, rows, columns, traced.lineage, first)}
    if traced.by:
        noted[f"{table}#lineage"] = Entry(traced.by, traced.by, 0)
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


def _first(lake: Lake, table: str) -> list[dict[str, Any]] | None:
    return lake.records(f"select * from {table} limit {FIRST}") if lake.folder else None


def _row(table: str, entry: Entry, run_id: str) -> tuple[Any, ...]:
    holds = (json.dumps(entry.columns), json.dumps(entry.lineage))
    return (table, entry.fingerprint, entry.version, entry.rows, *holds, run_id)


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
