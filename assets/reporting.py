"""What every asset tells the UI: rows, columns, lineage, whether anything changed."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from cdp.lake.build import Built
from cdp.lake.engine import Lake
from cdp.lake.register import entries

OWNERS = ["team:customer-data"]


def table_metadata(lake: Lake, table: str) -> dict[str, Any]:
    """Row count, column schema and, for a table made by SQL, column lineage."""
    entry = entries(lake)[table]
    found: dict[str, Any] = {
        "dagster/row_count": entry.rows,
        "dagster/table_name": f"lake.main.{table}",
        "dagster/column_schema": dg.TableSchema([dg.TableColumn(name, kind) for name, kind in entry.columns]),
    }
    deps = {
        column: [dg.TableColumnDep(dg.AssetKey(source), name) for source, name in inputs]
        for column, inputs in entry.lineage.items()
        if inputs
    }
    if deps:
        found["dagster/column_lineage"] = dg.TableColumnLineage(deps)
    return found


def report(lake: Lake, built: Built, extra: Mapping[str, Any] | None = None, **parts: Any) -> dg.MaterializeResult:
    """The result of building one table."""
    metadata = {**table_metadata(lake, built.table), "changed": built.changed, **(extra or {})}
    return dg.MaterializeResult(metadata=metadata, **parts)
