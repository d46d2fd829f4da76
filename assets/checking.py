"""Asset checks out of functions of `cdp.checks`: what was found, and what to do next."""

from collections.abc import Callable, Sequence

import dagster as dg

from assets.platform import Platform
from cdp.checks import Finding

MOST_ROWS = 50


def check(
    asset: str, name: str, description: str, hint: str, find: Callable[[Platform], Finding], *, blocking: bool = False, reads: Sequence[str] = ()
) -> dg.AssetChecksDefinition:  # fmt: skip
    """One check. Blocking ones stop what stands on the asset; the others warn.

    Args:
        asset: What is checked.
        name: Name of the check on the asset.
        description: What must hold.
        hint: What to do next if it does not.
        find: Looks.
        blocking: Whether the run stops there.
        reads: Other assets that are looked at.
    """

    @dg.asset_check(asset=asset, name=name, description=description, blocking=blocking, additional_deps=list(reads))
    def made(platform: Platform) -> dg.AssetCheckResult:
        with platform.lake.busy():
            return result(find(platform), hint, blocking=blocking)

    return made


def result(found: Finding, hint: str, *, blocking: bool = False, name: str | None = None) -> dg.AssetCheckResult:
    """What Dagster shows of a finding."""
    metadata = dict(found.facts)
    if not found.ok:
        metadata["what to do"] = hint
    if found.rows:
        columns = [dg.TableColumn(column, "string") for column in found.rows[0]]
        rows = [dg.TableRecord({k: str(v) for k, v in row.items()}) for row in found.rows[:MOST_ROWS]]
        metadata["rows"] = dg.MetadataValue.table(rows, dg.TableSchema(columns))
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=found.ok, check_name=name, severity=severity, metadata=metadata)
