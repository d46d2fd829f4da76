"""Tables of the lake that are not made by a select: the registers of the pipeline itself."""

from functools import partial

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


ADDED = (("ops__rejected_rows", "replayed_as"),)  # columns that older lakes lack


def create_registers(lake: Lake) -> None:
    """Make the registers where they are missing."""

    def make() -> None:
        for table, columns in OPERATIONS.items():
            lake.connection.execute(f"create table if not exists lake.main.{table} ({columns})")

    if not lake.tables() >= OPERATIONS.keys():
        lake.write(make, "registers")
    for table, column in ADDED:
        query = "select 1 from duckdb_columns() where database_name = 'lake' and table_name = ? and column_name = ?"
        if not lake.rows(query, [table, column]):
            statement = f"alter table lake.main.{table} add column {column} varchar"
            lake.write(partial(lake.connection.execute, statement), "registers")


def forget_builds(lake: Lake) -> None:
    """Have every derived table made again; what was ingested stays, and so do ids, consent and ledger."""
    query = "delete from lake.main.ops__builds where table_name not like 'raw!_%' escape '!'"
    lake.write(lambda: lake.connection.execute(query), "forget builds")
    lake.register = None
