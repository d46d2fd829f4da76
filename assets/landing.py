"""Landing days: raw tables are partitioned by the day (UTC) on which a file was first registered."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

import dagster as dg

from assets.platform import Platform
from cdp.sources.ingest import FileReport, IngestReport
from cdp.sources.landing import seen
from cdp.sources.model import Source
from cdp.store import landed

COUNTS = ("lines", "accepted", "duplicates", "quarantined", "suppressed")
DAYS = dg.DynamicPartitionsDefinition(name="landing_day")


def register(instance: dg.DagsterInstance, platform: Platform) -> list[str]:
    """Register what lies in the landing folder; every day that holds a file is a partition. Returns the days that gained any."""
    new = landed.register(platform.store, seen(platform.landing, platform.sources), platform.now)
    instance.add_dynamic_partitions(DAYS.name or "", [f"{day}" for day in landed.days(platform.store)])
    return sorted(f"{day}" for day in new)


def chosen_days(context: dg.AssetExecutionContext) -> list[date] | None:
    """The landing days that a run is about; None where it is about everything."""
    ranged = context.has_partition_key or context.has_partition_key_range
    return [date.fromisoformat(key) for key in context.partition_keys] if ranged else None


def wanted(context: dg.AssetExecutionContext, platform: Platform, source: Source) -> dict[str, datetime]:
    """The files that a run is about: of its landing days, or all where it has none. None landed after the run's clock."""
    found = landed.of(platform.store, source.source, chosen_days(context))
    return {file: min(at, platform.now) for file, at in found.items()}


def settle(
    context: dg.AssetExecutionContext, platform: Platform, source: Source, files: Iterable[str], before: list[landed.Seen], done: IngestReport
) -> None:  # fmt: skip
    """These files were looked at, as they were before. A run over everything still says which days it filled."""
    redacted = {file.file for file in done.files if file.original}
    states = landed.read_whole(set(files), before, seen(platform.landing, [source]), redacted)
    landed.settle(platform.store, states, platform.now)
    if done.unopened:
        platform.leave_undone()
    if chosen_days(context) is None:
        for day, brought in by_day(done).items():
            context.log_event(dg.AssetMaterialization(source.raw_table, partition=day, metadata=counted(brought)))


def by_day(done: IngestReport) -> dict[str, list[FileReport]]:
    """The files of a report by landing day, the oldest first."""
    found: dict[str, list[FileReport]] = {}
    for file in done.files:
        if file.landed_at:
            found.setdefault(f"{file.landed_at.astimezone(UTC):%Y-%m-%d}", []).append(file)
    return dict(sorted(found.items()))


def counted(files: list[FileReport]) -> dict[str, int]:
    """What these files brought."""
    return {"files": len(files)} | {name: sum(getattr(file, name) for file in files) for name in COUNTS}
