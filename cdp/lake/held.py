"""Small tables that stay in memory for the rest of a run: a statement over the lake costs more than the rows of most of them."""

from cdp.lake.engine import Lake

MOST = 50_000  # rows


def hold(lake: Lake, table: str, made: str | None) -> None:
    """Bare names read the rows of the temporary table `made` from now on, which takes the table's name; the lake where None."""
    lake.connection.execute(f"drop table if exists temp.main.{table}")
    if made:
        lake.connection.execute(f"alter table {made} rename to {table}")


def let_go(lake: Lake) -> None:
    """Bare names read the lake again."""
    for (table,) in lake.rows("select distinct table_name from duckdb_columns() where database_name = 'temp'"):
        if lake.exists(table):
            lake.rows(f"drop table temp.main.{table}")
