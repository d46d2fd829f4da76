"""Stage the rows of a source's new files in memory and decide, set-based, what each of them is."""

from collections.abc import Iterable

import polars as pl

from cdp.errors import ConfigError
from cdp.lake.build import incoming
from cdp.lake.engine import Lake
from cdp.sources.model import Column, ColumnType, Source
from cdp.sources.read import Rejected

TYPES = {
    ColumnType.TEXT: "varchar",
    ColumnType.INTEGER: "bigint",
    ColumnType.DECIMAL: "decimal(18, 4)",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TIMESTAMP: "timestamptz",
    ColumnType.DATE: "date",
    ColumnType.FLAGS: "struct(name varchar, value varchar)[]",
}
BOOKKEEPING = {
    "_file": "varchar",
    "_line": "bigint",
    "_key": "varchar",
    "_hash": "varchar",
    "_run_id": "varchar",
    "_landed_at": "timestamptz",
    "_redacted": "boolean",  # true where the row lost its person; its order stays
}


def sql_type(column: Column) -> str:
    """The DuckDB type of a contract column."""
    if column.type is ColumnType.LIST:
        fields = ", ".join(f"{name} {sql_type(item)}" for name, item in (column.items or {}).items())
        return f"struct(item_no bigint, {fields})[]"
    return TYPES[column.type]


def raw_columns(source: Source) -> dict[str, str]:
    """Columns of the source's raw table, with their types."""
    return {name: sql_type(column) for name, column in source.columns.items()} | BOOKKEEPING


def create_raw_table(lake: Lake, source: Source) -> None:
    """Make the raw table where it is missing, and add the columns that its contract gained."""
    definition = ", ".join(f'"{name}" {kind}' for name, kind in raw_columns(source).items())
    lake.connection.execute(f"create table if not exists lake.main.{source.raw_table} ({definition})")
    query = "select column_name, data_type from duckdb_columns() where database_name = 'lake' and table_name = ?"
    present = dict(lake.rows(query, [source.raw_table]))
    nothing = ", ".join(f'cast(null as {kind}) as "{name}"' for name, kind in raw_columns(source).items())
    wanted = {str(row[0]): str(row[1]) for row in lake.rows(f"describe select {nothing}")}
    for name, kind in wanted.items():
        if name not in present:
            lake.connection.execute(f'alter table lake.main.{source.raw_table} add column "{name}" {kind}')
        elif present[name] != kind:
            raise ConfigError(
                f"sources/{source.source}.yaml: column {name} is now {kind}, but rows were stored as {present[name]}",
                "give the column a new name (keep its 'path'), or the source a new 'table'",
            )


def open_stage(lake: Lake, source: Source) -> None:
    """Empty staging tables for one source (in memory, spilled when large)."""
    columns = ", ".join(f'"{name}" {sql_type(column)}' for name, column in source.columns.items())
    lake.rows(
        f"create or replace table memory.main.stage_rows "
        f"({columns}, _file varchar, _order bigint, _line bigint, _key varchar, _hash varchar, _redacted boolean)"
    )
    lake.rows(
        "create or replace table memory.main.stage_rejected "
        '(file varchar, line bigint, "column" varchar, "check" varchar, reason varchar, payload varchar)'
    )


def stage_rows(lake: Lake, source: Source, file: str, order: int, identity: str, frame: pl.DataFrame) -> None:
    """Add the sound rows of one batch. A source without a key uses the file's identity and the line."""
    if frame.is_empty():
        return
    casts = ", ".join(f'cast("{name}" as {sql_type(column)}) as "{name}"' for name, column in source.columns.items())
    key = ", ".join(f'cast("{name}" as varchar)' for name in source.key)
    key_sql = f"concat_ws(chr(31), {key})" if source.key else "concat($identity, '#', _line)"
    parameters = {"file": file, "order": order} | ({} if source.key else {"identity": identity})
    with incoming(lake, frame.to_arrow()):
        lake.rows(
            f"insert into memory.main.stage_rows select {casts}, $file, $order, _line, {key_sql}, "  # noqa: S608
            f"{content_hash(source)}, null from incoming",
            parameters,
        )


def content_hash(source: Source) -> str:
    """The fingerprint of a row's content."""
    content = ", ".join(f'"{name}"' for name in source.columns)
    return f"md5(cast(row({content}) as varchar))"


def stage_rejected(lake: Lake, file: str, rejected: Iterable[Rejected]) -> None:
    """Add the reasons why lines of a file are quarantined."""
    rows = [(file, r.line, r.column, r.check, r.reason, r.payload) for r in rejected]
    if not rows:
        return
    names = ["file", "line", "column", "check", "reason", "payload"]
    schema = {name: pl.Int64 if name == "line" else pl.String for name in names}
    with incoming(lake, pl.DataFrame(rows, schema=schema, orient="row").to_arrow()):
        lake.rows("insert into memory.main.stage_rejected select * from incoming")


def forget(lake: Lake, file: str, *, rejected: bool = False) -> None:
    """Take a file's rows out of the stage, and what was rejected of it if so asked."""
    lake.rows("delete from memory.main.stage_rows where _file = ?", [file])
    if rejected:
        lake.rows("delete from memory.main.stage_rejected where file = ?", [file])


def judge(lake: Lake, source: Source) -> None:
    """Decide for every staged row: accepted, duplicate or key_conflict, within the stage and against the lake.

    Same key and version is a duplicate; a key without a version whose content differs is a conflict.
    """
    version = f"coalesce(cast(\"{source.version}\" as varchar), '')" if source.version else "''"
    conflict = "'duplicate'" if source.version else "case when _hash = known then 'duplicate' else 'key_conflict' end"
    lake.rows(
        f"""
        create or replace table memory.main.stage_verdicts as
        with staged as (
            select _order, _line, _key, {version} as _version, _hash from memory.main.stage_rows
        ), stored as (
            select _key, {version} as _version, min(_hash) as _hash
            from lake.main.{source.raw_table} where _key in (select _key from staged) group by all
        ), ranked as (
            select staged.*,
                row_number() over by_arrival as nth,
                coalesce(stored._hash, first_value(staged._hash) over by_arrival) as known,
                stored._key is not null as is_stored
            from staged left join stored using (_key, _version)
            window by_arrival as (partition by staged._key, staged._version order by _order, _line)
        )
        select _order, _line,
            case when nth = 1 and not is_stored then 'accepted' else {conflict} end as verdict
        from ranked
        """  # noqa: S608 - column and table names are checked against the source model's pattern
    )
