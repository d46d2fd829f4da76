"""Ingest: one raw table for each source, with its contract and reconciliation checks."""

import dagster as dg

from assets import landing
from assets.checking import result
from assets.platform import Platform
from assets.reporting import OWNERS, costed, report
from cdp.checks import Finding, arrivals
from cdp.lake.build import Built
from cdp.privacy.guard import guard
from cdp.quarantine.rows import over_limit
from cdp.settings import Settings
from cdp.sources.ingest import IngestReport, ingest
from cdp.sources.landing import seen
from cdp.sources.load import load_sources
from cdp.sources.model import Source
from cdp.workspace import Workspace


@dg.asset(group_name="ingest", deps=["ops__retention"], kinds={"postgres"}, owners=OWNERS)
@costed()
def ops__landed(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Grain: run. Landing files are registered: the day on which one is first seen is its landing day, a partition of its raw table."""
    days = landing.register(context.instance, platform)
    return dg.MaterializeResult(metadata={"days with new files": days})


def raw_asset(source: Source) -> dg.AssetsDefinition:
    """The raw table of one source."""

    @dg.asset(
        name=source.raw_table,
        group_name="ingest",
        deps=["ops__landed"],
        partitions_def=landing.DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"duckdb", source.format},
        owners=OWNERS,
        description=f"Grain: accepted row of {source.source}. {source.description}",
        check_specs=[
            dg.AssetCheckSpec("reconciliation", asset=source.raw_table, blocking=True,
                              description="Every line read is accepted, duplicate, quarantined or suppressed."),
            dg.AssetCheckSpec("contract", asset=source.raw_table,
                              description="Few lines break the contract; no file had to be left out."),
            *(dg.AssetCheckSpec(name, asset=source.raw_table, description=text) for name, (text, _) in ARRIVALS.items()),
        ],
    )  # fmt: skip
    def raw(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        files, before = landing.wanted(context, platform, source), seen(platform.landing, [source])
        suppress = guard(platform.workspace, platform.now)
        with platform.lake.busy():
            done = ingest(platform.lake, source, platform.landing, platform.now, context.log.info, suppress, files)
        landing.settle(context, platform, source, files, before, done)
        for file in done.blocked:
            context.log.warning(f"{source.source}/{file.file} was left out: {file.blocked}")
        made = sum(file.accepted for file in done.files)
        built = Built(source.raw_table, done.rows, bool(done.files), done.seconds, done.bytes, made)
        return report(
            platform.lake,
            built,
            check_results=[_reconciles(done), _contract(platform, done, source), *_arrivals(platform, source)],
            extra=_counts(done),
        )

    return raw


ARRIVALS = {
    "volume": ("The newest landing day brought about as many rows as usual, and is not long ago.",
               "ask who sends the files; if this is the new usual, it passes again after a few landings"),
    "null_rate": ("No column of the newest landing day is much emptier than before.",
                  "look at the newest file: a renamed column reads as empty; set its 'path' in the source's YAML"),
    "schema_drift": ("The newest file has the columns of the one before it.",
                     "name a new column in the source's YAML to read it; ask the sender about one that is gone"),
}  # fmt: skip


def _arrivals(platform: Platform, source: Source) -> list[dg.AssetCheckResult]:
    """In the asset, not beside it: a step of its own for each would cost more than the look."""
    found = {
        "volume": arrivals.volume(platform.lake, source, platform.now),
        "null_rate": arrivals.nulls(platform.lake, source),
        "schema_drift": arrivals.drift(platform.landing, source),
    }
    return [result(finding, ARRIVALS[name][1], name=name) for name, finding in found.items()]


def _counts(done: IngestReport) -> dict[str, object]:
    rows = [
        dg.TableRecord({"file": file.file, **{name: getattr(file, name) for name in landing.COUNTS}})
        for file in done.files
    ]
    totals = {name: count for name, count in landing.counted(done.files).items() if name in landing.COUNTS}
    return {**totals, "files": dg.MetadataValue.table(rows, _FILES)}


_FILES = dg.TableSchema([dg.TableColumn("file", "string"), *(dg.TableColumn(name, "int") for name in landing.COUNTS)])


def _reconciles(done: IngestReport) -> dg.AssetCheckResult:
    wrong = done.unreconciled
    return result(Finding(not wrong, {"files that do not add up": wrong}), ADD_UP, blocking=True, name="reconciliation")


ADD_UP = "compare the file's lines with ops__reconciliation and report it; what stands on this table waits"
LEFT_OUT = "mend each file that is left out, or have it sent again under its name; it is read by the next run, and removing it ends this"
REJECTED = (
    "look at what was rejected and why ('cdp quarantine list', ops__rejected_rows), correct it by a rule and replay it"
)


def _contract(platform: Platform, done: IngestReport, source: Source) -> dg.AssetCheckResult:
    many = over_limit(platform.lake, source, platform.now)
    blocked = done.left_out | {file.file: file.blocked for file in done.blocked}
    facts = {"left out": blocked, "over the warning limit": many}
    found, hint = Finding(not blocked and not many, facts), LEFT_OUT if blocked else REJECTED
    return result(found, hint, blocking=bool(blocked), name="contract")


@dg.definitions
def defs() -> dg.Definitions:
    """Raw assets of the workspace's sources; of the shipped ones where there is no workspace yet."""
    return dg.Definitions(assets=[ops__landed, *(raw_asset(source) for source in load_sources(Workspace(Settings())))])
