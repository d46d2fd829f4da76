"""Keep the lake small: expire what no release needs, remove files that nothing names."""

from cdp.lake.engine import Lake


def expire(lake: Lake, keep: list[int]) -> int:
    """Expire every snapshot but the newest and those in `keep`; delete the files that only they named.

    Returns:
        Snapshots expired.
    """
    there = [int(row[0]) for row in lake.rows("select snapshot_id from lake.snapshots()")]
    old = sorted(set(there) - {max(there), *keep})
    if old:
        lake.rows(f"call ducklake_expire_snapshots('lake', versions => [{', '.join(map(str, old))}])")
    lake.rows("call ducklake_cleanup_old_files('lake', cleanup_all => true)")
    return len(old)


def remove_orphans(lake: Lake) -> None:
    """Delete files that a killed writer left behind. Only under the queue: a living writer's files look the same."""
    lake.rows("call ducklake_delete_orphaned_files('lake', cleanup_all => true)")
