"""What every asset tells the UI: rows, columns, lineage, whether anything changed."""

import os
import time
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any

import dagster as dg

from assets.drawings import kept
from assets.platform import Platform
from cdp.lake.build import Built
from cdp.lake.engine import Lake
from cdp.lake.register import entries
from cdp.lake.tables import meanings
from cdp.privacy import columns
from cdp.settings import Settings
from cdp.sources.load import load_sources
from cdp.sources.model import Column
from cdp.workspace import Workspace

OWNERS = ["team:customer-data"]


def table_metadata(lake: Lake, table: str) -> dict[str, Any]:
    """Row count, columns with what their contract says, a masked preview and, for a table made by SQL, column lineage."""
    entry = entries(lake)[table]
    declared = contracts(os.environ.get("CDP_HOME"))
    pii, about = columns.personal(lake, declared, table), declared.get(table, {})
    found: dict[str, Any] = {
        "dagster/row_count": entry.rows,
        "dagster/table_name": f"lake.main.{table}",
        "dagster/column_schema": dg.TableSchema(
            [_column(name, kind, about.get(name), pii=name in pii) for name, kind in entry.columns]
        ),
        "preview": dg.MetadataValue.md(
            kept(
                f"{lake.run_id if not entry.version else ''}{table} {entry.version} {sorted(pii)}",
                lambda: _preview(columns.sample(lake, table, pii)),
            )
        ),
    }
    deps = {
        column: [dg.TableColumnDep(dg.AssetKey(source), name) for source, name in inputs]
        for column, inputs in entry.lineage.items()
        if inputs
    }
    if deps:
        found["dagster/column_lineage"] = dg.TableColumnLineage(deps)
    return found


def _column(name: str, kind: str, contract: Column | None, *, pii: bool) -> dg.TableColumn:
    limits = [] if contract is None else [
        *([f"one of {', '.join(contract.one_of)}"] if contract.one_of else []), *([f"matches {contract.matches}"] if contract.matches else []),
        *([f"at least {contract.minimum:g}"] if contract.minimum is not None else []), *([f"at most {contract.maximum:g}"] if contract.maximum is not None else []),
    ]  # fmt: skip
    return dg.TableColumn(
        name, kind, (contract and contract.description) or meanings().get(name),
        dg.TableColumnConstraints(nullable=not (contract and contract.required), other=limits),
        {"pii": ""} if pii else {},
    )  # fmt: skip


@cache
def contracts(home: str | None) -> dict[str, dict[str, Column]]:
    """Raw table → columns of its contract, once a process and workspace: a run does not see YAML that changes under it."""
    settings = Settings(home=Path(home)) if home else Settings()
    return {source.raw_table: source.columns for source in load_sources(Workspace(settings))}


def _preview(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "no rows"
    head = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    cells = [[value.replace("|", "¦").replace("\n", " ")[:40] for value in row.values()] for row in rows]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in cells), "\nValues are masked."])


def observed(context: dg.OpExecutionContext, asset: str, metadata: Mapping[str, Any]) -> None:
    """What a job found out about an asset: on the asset's page, and in the log of the run."""
    context.log_event(dg.AssetObservation(asset, metadata=metadata))
    for name, value in metadata.items():
        if not isinstance(value, dg.MetadataValue):
            context.log.info(f"{name}: {value}")


def cost(built: Built) -> dict[str, Any]:
    """How long the step took that made it, what it wrote, and how much that is a second; nothing where nothing was made."""
    if not built.changed or not built.seconds:
        return {}
    rows = built.rows if built.made is None else built.made
    return {
        "seconds": round(built.seconds, 3),
        "bytes": built.bytes,
        "rows made": rows,
        "rows per second": round(rows / built.seconds, 1),
        "bytes per second": round(built.bytes / built.seconds),
    }


Step = Callable[..., dg.MaterializeResult]


def costed(rows: str = "", *, logged: bool = True) -> Callable[[Step], Step]:
    """A step that makes no table of the lake tells its cost too, and while it works the log of the run says so.

    Args:
        rows: Its metadata that counts the rows it wrote; without it no rows a second are told.
        logged: Tell the bytes that PostgreSQL logged meanwhile; what others wrote at that time is among them.
    """

    def around(make: Step) -> Step:
        @wraps(make)
        def measured(*context: Any, platform: Platform, **given: Any) -> dg.MaterializeResult:
            before = _logged(platform) if logged else 0
            with platform.lake.busy() as began:
                done = make(*context, platform=platform, **given)
            seconds, told = time.monotonic() - began, dict(done.metadata or {})
            spent: dict[str, Any] = {"seconds": round(seconds, 3)}
            if rows:
                spent["rows per second"] = round(int(told[rows]) / seconds, 1)
            if logged:
                size = _logged(platform) - before
                spent |= {"bytes logged": size, "bytes logged per second": round(size / seconds)}
            return done._replace(metadata=spent | told)

        return measured

    return around


def _logged(platform: Platform) -> int:
    """Bytes that PostgreSQL has ever logged."""
    return int(platform.store.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchall()[0][0])


NOTHING = dg.MetadataValue.md("nothing to draw yet")
Plots = Mapping[str, Callable[[], dg.MarkdownMetadataValue]]


def report(
    lake: Lake, built: Built, extra: Mapping[str, Any] | None = None, plots: Plots | None = None, **parts: Any
) -> dg.MaterializeResult:
    """The result of building one table.

    Args:
        lake: Where it is.
        built: What building it did.
        extra: Metadata of its own, by name.
        plots: What draws each plot, asked only where the table has rows.
        parts: Passed on: its asset key, its check results.
    """
    drawn = {name: draw() if built.rows else NOTHING for name, draw in (plots or {}).items()}
    metadata = {
        **table_metadata(lake, built.table),
        "changed": built.changed,
        **cost(built),
        **(extra or {}),
        **drawn,
    }
    # Dagster keeps what a result carries twice, with the step's output and with the materialization: half of a run's events.
    dg.AssetExecutionContext.get().add_asset_metadata(metadata, asset_key=built.table)
    return dg.MaterializeResult(**parts)
