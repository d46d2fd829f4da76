"""What every asset tells the UI: rows, columns, lineage, whether anything changed."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from cdp.lake.build import Built
from cdp.lake.engine import Lake
from cdp.lake.lineage import column_lineage

OWNERS = ["team:customer-data"]
ORDER = ("ingest", "standardise", "identity", "profile", "consent", "publish", "loyalty")


def table_metadata(lake: Lake, table: str, rows: int, query: str | None = None) -> dict[str, Any]:
    """Row count, column schema and, for a table made by SQL, column lineage."""
    columns = lake.columns(table)
    found: dict[str, Any] = {
        "dagster/row_count": rows,
        "dagster/table_name": f"lake.main.{table}",
        "dagster/column_schema": dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns]),
    }
    if query is not None:
        deps = {
            column: [dg.TableColumnDep(dg.AssetKey(source), name) for source, name in inputs]
            for column, inputs in column_lineage(lake, query).items()
            if inputs
        }
        found["dagster/column_lineage"] = dg.TableColumnLineage(deps)
    return found


def report(
    lake: Lake, built: Built, query: str | None = None, extra: Mapping[str, Any] | None = None, **parts: Any
) -> dg.MaterializeResult:
    """The result of building one table."""
    metadata = {**table_metadata(lake, built.table, built.rows, query), "changed": built.changed, **(extra or {})}
    return dg.MaterializeResult(metadata=metadata, **parts)
