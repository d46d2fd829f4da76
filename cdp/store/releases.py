"""Releases: which snapshot of the lake each finished run published."""

from dataclasses import dataclass
from datetime import datetime

import psycopg


@dataclass(frozen=True)
class Release:
    """One finished, published run."""

    release_id: int
    run_id: str
    snapshot_id: int
    as_of: datetime
    finished_at: datetime


COLUMNS = "release_id, run_id, snapshot_id, as_of, finished_at"


def record(
    connection: psycopg.Connection, run_id: str, snapshot_id: int, as_of: datetime, finished_at: datetime
) -> None:
    """Note a release and commit it; a snapshot that is released already is not again."""
    with connection.transaction():
        before = newest(connection)
        if before and before[0].snapshot_id == snapshot_id:
            return
        connection.execute(
            "insert into releases (run_id, snapshot_id, as_of, finished_at) values (%s, %s, %s, %s)",
            [run_id, snapshot_id, as_of, finished_at],
        )


def move(connection: psycopg.Connection, run_id: str, snapshot_id: int) -> bool:
    """Readers of the release that this run made read this snapshot from now on; false where it made none."""
    return bool(
        connection.execute("update releases set snapshot_id = %s where run_id = %s", [snapshot_id, run_id]).rowcount
    )


def newest(connection: psycopg.Connection, count: int = 1) -> list[Release]:
    """The newest releases, newest first."""
    query = f"select {COLUMNS} from releases order by release_id desc limit %s"  # noqa: S608 - a constant
    return [Release(*row) for row in connection.execute(query, [count])]


def forget_before(connection: psycopg.Connection, snapshot_id: int) -> None:
    """Readers may no longer ask for snapshots older than this one."""
    connection.execute("delete from releases where snapshot_id < %s", [snapshot_id])
