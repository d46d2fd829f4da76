"""The register of what each lake table was built from and what it holds; read once a connection, kept in step."""

import json
from dataclasses import dataclass, field

from cdp.lake.engine import Lake

Lineage = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Entry:
    """One built table.

    Attributes:
        fingerprint: What it was built from.
        version: What it holds: an equal result stops the rebuild of everything after it.
        columns: Name and type of each column.
        lineage: Output column → (input table, input column) pairs.
    """

    fingerprint: str
    version: str
    rows: int
    columns: list[tuple[str, str]] = field(default_factory=list)
    lineage: Lineage = field(default_factory=dict)


def entries(lake: Lake) -> dict[str, Entry]:
    """Every built table that is still there."""
    if lake.register is None:
        present = lake.tables()
        lake.register = {
            table: Entry(fingerprint, version, int(rows), _pairs(columns), json.loads(lineage))
            for table, fingerprint, version, rows, columns, lineage in lake.rows(
                "select table_name, fingerprint, version, rows, columns, lineage from ops__builds"
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
) -> None:
    """Note a table, inside the transaction that makes it. A name with `#` is a mark without a table.

    Args:
        lake: Where.
        table: Its name.
        mark: What it was built from.
        lineage: Where its columns come from.
        content: What stands for its content where reading it all again would cost more than it saves.
        read: What it depends on beside its inputs, and the turn up to which it has read them (see `cdp.lake.delta`).
    """
    version, rows, columns = mark, 0, list[tuple[str, str]]()
    if "#" not in table:
        version = content or summed(lake, table)
        rows = (
            int(version.split(":")[0])
            if ":" in version
            else int(lake.scalar(f"select count(*) from lake.main.{table}"))
        )
        described = lake.connection.execute(f"describe lake.main.{table}").fetchall()
        columns = [(str(row[0]), str(row[1])) for row in described]
    made = {table: Entry(mark, version, rows, columns, lineage or {})}
    if read:
        made[f"{table}#read"] = Entry(read[0], read[0], read[1])
    known = entries(lake)
    lake.connection.execute("delete from lake.main.ops__builds where table_name in (select unnest(?))", [list(made)])
    lake.connection.execute(
        f"insert into lake.main.ops__builds values {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * len(made))}",
        [
            value
            for name, e in made.items()
            for value in (
                name,
                e.fingerprint,
                e.version,
                e.rows,
                json.dumps(e.columns),
                json.dumps(e.lineage),
                lake.run_id,
            )
        ],
    )
    known.update(made)


def summed(lake: Lake, table: str) -> str:
    """What stands for a table's content: its rows, and the sum of their hashes."""
    count, total = lake.rows(f"select count(*), coalesce(sum(hash(t)), 0) from lake.main.{table} as t")[0]
    return f"{count}:{total}"


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind in json.loads(text)]
