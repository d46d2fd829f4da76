"""Ingest: one raw table for each source, with its contract and reconciliation checks."""

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, report
from cdp.lake.build import Built
from cdp.privacy.guard import guard
from cdp.settings import Settings
from cdp.sources.ingest import IngestReport, ingest
from cdp.sources.load import load_sources
from cdp.sources.model import Source
from cdp.workspace import Workspace


def raw_asset(source: Source) -> dg.AssetsDefinition:
    """The raw table of one source."""

    @dg.asset(
        name=source.raw_table,
        group_name="ingest",
        deps=["ops__retention"],
        kinds={"duckdb", source.format},
        owners=OWNERS,
        description=f"Grain: accepted row of {source.source}. {source.description}",
        check_specs=[
            dg.AssetCheckSpec("reconciliation", asset=source.raw_table, blocking=True,
                              description="Every line read is accepted, duplicate, quarantined or suppressed."),
            dg.AssetCheckSpec("contract", asset=source.raw_table,
                              description="Few lines break the contract; no file had to be left out."),
        ],
    )  # fmt: skip
    def raw(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        done = ingest(
            platform.lake,
            source,
            platform.landing,
            platform.now,
            context.log.info,
            guard(platform.workspace, platform.now),
        )
        for file in done.blocked:
            context.log.warning(f"{source.source}/{file.file} was left out: {file.blocked}")
        built = Built(source.raw_table, done.rows, changed=bool(done.files))
        return report(
            platform.lake,
            built,
            check_results=[_reconciles(done), _contract(done, source)],
            extra=_counts(done),
        )

    return raw


def _counts(done: IngestReport) -> dict[str, object]:
    names = ("lines", "accepted", "duplicates", "quarantined", "suppressed")
    rows = [dg.TableRecord({"file": file.file, **{name: getattr(file, name) for name in names}}) for file in done.files]
    totals = {name: sum(getattr(file, name) for file in done.files) for name in names}
    return {**totals, "files": dg.MetadataValue.table(rows, _FILES)}


_FILES = dg.TableSchema(
    [dg.TableColumn("file", "string")]
    + [dg.TableColumn(name, "int") for name in ("lines", "accepted", "duplicates", "quarantined", "suppressed")]
)


def _reconciles(done: IngestReport) -> dg.AssetCheckResult:
    wrong = done.unreconciled
    return dg.AssetCheckResult(
        passed=not wrong, check_name="reconciliation", metadata={"files that do not add up": wrong}
    )


def _contract(done: IngestReport, source: Source) -> dg.AssetCheckResult:
    many = [file.file for file in done.files if file.quarantined > source.limits.warn * file.lines]
    blocked = {file.file: file.blocked for file in done.blocked}
    severity = dg.AssetCheckSeverity.ERROR if blocked else dg.AssetCheckSeverity.WARN
    metadata = {
        "left out": blocked,
        "over the warning limit": many,
        "what to do": "look at ops__rejected_rows",
    }
    return dg.AssetCheckResult(
        passed=not blocked and not many, check_name="contract", severity=severity, metadata=metadata
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Raw assets of the workspace's sources; of the shipped ones where there is no workspace yet."""
    return dg.Definitions(assets=[raw_asset(source) for source in load_sources(Workspace(Settings()))])
