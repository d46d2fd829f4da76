"""Landing days: raw tables are partitioned by the day (UTC) on which a file was first registered."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

import dagster as dg

from assets.platform import Platform
from cdp.sources.ingest import IngestReport
from cdp.sources.landing import seen
from cdp.sources.model import Source
from cdp.store import landed

DAYS = dg.DynamicPartitionsDefinition(name="landing_day")


def register(instance: dg.DagsterInstance, platform: Platform) -> list[str]:
    """Register what lies in the landing folder; every day that holds a file is a partition. Returns the days that gained any."""
    new = landed.register(platform.store, seen(platform.landing, platform.sources), platform.now)
    instance.add_dynamic_partitions(DAYS.name or "", [f"{day}" for day in landed.days(platform.store)])
    return sorted(f"{day}" for day in new)


def wanted(context: dg.AssetExecutionContext, platform: Platform, source: Source) -> dict[str, datetime]:
    """The files that a run is about: of its landing days, or all where it has none. None landed after the run's clock."""
    ranged = context.has_partition_key or context.has_partition_key_range
    days = [date.fromisoformat(key) for key in context.partition_keys] if ranged else None
    return {file: min(at, platform.now) for file, at in landed.of(platform.store, source.source, days).items()}


def settle(context: dg.AssetExecutionContext, platform: Platform, source: Source, files: Iterable[str], done: IngestReport) -> None:  # fmt: skip
    """These files were looked at. A run over everything still says which days it filled."""
    looked = set(files)
    states = [state for state in seen(platform.landing, [source]) if state[1] in looked]
    landed.settle(platform.store, states, platform.now)
    if context.has_partition_key or context.has_partition_key_range:
        return
    days = sorted({f"{file.landed_at.astimezone(UTC):%Y-%m-%d}" for file in done.files if file.landed_at})
    for day in days:
        context.log_event(dg.AssetMaterialization(source.raw_table, partition=day, metadata=by_day(done, day)))


def by_day(done: IngestReport, day: str) -> dict[str, int]:
    """What one landing day brought."""
    files = [file for file in done.files if file.landed_at and f"{file.landed_at.astimezone(UTC):%Y-%m-%d}" == day]
    names = ("lines", "accepted", "duplicates", "quarantined", "suppressed")
    return {"files": len(files)} | {name: sum(getattr(file, name) for file in files) for name in names}
