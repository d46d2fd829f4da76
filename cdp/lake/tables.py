"""The lake's tables as they are before the first run: the registers of the pipeline itself, and all others, empty."""

import json
from functools import cache, partial
from importlib import resources

from cdp.lake import held, register
from cdp.lake.engine import Lake

OPERATIONS = {
    "ops__files": "source varchar, file varchar, sha256 varchar, identity varchar, bytes bigint, status varchar, "
    "reason varchar, contract varchar, run_id varchar, registered_at timestamptz",
    "ops__reconciliation": "source varchar, file varchar, sha256 varchar, lines bigint, accepted bigint, "
    "duplicates bigint, quarantined bigint, suppressed bigint, run_id varchar",
    "ops__rejected_rows": 'source varchar, file varchar, line bigint, "column" varchar, "check" varchar, '
    "reason varchar, payload varchar, sha256 varchar, run_id varchar, rejected_at timestamptz, replayed_as varchar",
    "ops__builds": "table_name varchar, fingerprint varchar, version varchar, rows bigint, columns varchar, "
    "lineage varchar, run_id varchar",
    "ops__changed_keys": "table_name varchar, told varchar, key varchar, turn bigint",
}


@cache
def shapes() -> dict[str, dict[str, str]]:
    """Name and type of each column of every table that the pipeline makes, as the shipped settings make them."""
    found: dict[str, dict[str, str]] = json.loads(
        (resources.files("cdp") / "lake" / "shapes.json").read_text(encoding="utf-8")
    )
    return found


@cache
def meanings() -> dict[str, str]:
    """What a column of a name holds, in whichever table it stands. Times are UTC, shares 0 to 1."""
    found: dict[str, str] = json.loads((resources.files("cdp") / "lake" / "columns.json").read_text(encoding="utf-8"))
    return found


ADDED = (("ops__rejected_rows", "replayed_as"),)  # columns that older lakes lack


def create_registers(lake: Lake) -> None:
    """Make the registers where they are missing, and all other tables, empty.

    A table that is made when its step comes changes the lake's schema, which is then read again: a hundred times in a
    first run. Here it happens once. One that is made with other columns than these is replaced by its step.
    """
    if not lake.tables() >= OPERATIONS.keys() | shapes().keys():
        lake.write(partial(create_missing, lake), "registers")
    for table, column in ADDED:
        query = "select 1 from duckdb_columns() where database_name = 'lake' and table_name = ? and column_name = ?"
        if not lake.rows(query, [table, column]):
            statement = f"alter table lake.main.{table} add column {column} varchar"
            lake.write(partial(lake.connection.execute, statement), "registers")


def create_missing(lake: Lake) -> None:
    """Inside a transaction: make what is missing; the register knows that nothing of it was built yet."""
    lake.forget()
    create_operations(lake)
    present, notes = lake.tables(), []
    for table, shape in shapes().items():
        if table not in present:
            lake.connection.execute(f"create table lake.main.{table} ({_definition(shape)})")
            notes.append((table, register.NOT_BUILT, "0:0", 0, json.dumps(list(shape.items())), "{}", lake.run_id))
    register.insert(lake, "ops__builds", notes)
    lake.forget()


def create_operations(lake: Lake) -> None:
    """Inside a transaction: make the registers alone where they are missing."""
    for table, columns in OPERATIONS.items():
        lake.connection.execute(f"create table if not exists lake.main.{table} ({columns})")


def _definition(shape: dict[str, str]) -> str:
    return ", ".join(f'"{name}" {kind}' for name, kind in shape.items())


def forget_builds(lake: Lake) -> None:
    """Have every derived table made again; what was ingested stays, and so do ids, consent and ledger."""
    held.let_go(lake)
    lake.write(partial(drop_derived, lake), "drop what is derived")
    lake.forget()


def drop_derived(lake: Lake) -> None:
    """Inside a transaction: everything that follows from the raw tables goes, and what the catalog knows of it; it is there again, empty."""
    for table in sorted(name for name in lake.tables() if name.startswith(("core_", "mart_"))):
        lake.connection.execute(f"drop table lake.main.{table}")
    register.keep_newest(lake)
    lake.connection.execute("delete from lake.main.ops__builds where table_name not like 'raw!_%' escape '!'")
    lake.connection.execute("delete from lake.main.ops__changed_keys")
    for table in sorted(name for name in lake.tables() if name.startswith("ops_")):
        anew(lake, table)
    create_missing(lake)


def anew(lake: Lake, table: str) -> None:
    """Make the table again from its rows: the catalog keeps the least and greatest value a table ever had."""
    lake.connection.execute(f"create or replace table lake.main.{table} as from lake.main.{table}")
