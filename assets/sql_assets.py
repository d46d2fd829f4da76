"""Assets out of SQL files: one select, one table, one asset, its dependencies read from its text."""

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, report
from cdp.lake.build import Increment, Select, build, sql_file
from cdp.standard.dictionary import bound


def sql_asset(stage: str, table: str, group: str | None = None, part: Increment | None = None) -> dg.AssetsDefinition:
    """The asset that makes the table of `cdp/sql/<stage>/<table>.sql`, in the group of its stage unless another is named."""
    return select_asset(group or stage, sql_file(stage, table), part)


def select_asset(stage: str, select: Select, part: Increment | None = None) -> dg.AssetsDefinition:
    """The asset that makes a table from one select, in part where it can be."""

    @dg.asset(
        name=select.table,
        group_name=stage,
        deps=list(select.inputs),
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        description=select.description,
    )
    def table(platform: Platform) -> dg.MaterializeResult:
        return report(platform.lake, build(platform.lake, select, bound(platform.lake, select.sql), part))

    return table
