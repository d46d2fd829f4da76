"""How the last run that ended well left things: what the next one compares with to see that nothing is new."""

from dataclasses import astuple, dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from cdp.store.connect import LAKE_SCHEMA

# the count does not move for what this connection writes: a run has read what it wrote
OWN_WRITES = "set cdp.run = 'yes'"
# what is being written now has perhaps been counted and cannot be read yet: no count, then
TOUCHES = """
    select case when not exists (
        select from pg_locks l left join pg_stat_activity a using (pid)
        where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and coalesce(a.datname, current_database()) = current_database()
            and coalesce(a.backend_type, 'client backend') = 'client backend'
    ) then last_value end from touches
"""  # a transaction that has written holds the lock of its number until it ends; the server's own tidying counts for nothing


COLUMNS = "run_id, as_of, finished_at, touches, snapshot_id, rules"


@dataclass(frozen=True)
class Standing:
    """One finished run.

    Attributes:
        run_id: The run.
        as_of: Its clock.
        finished_at: When it ended.
        touches: The count of statements that others had run over the store when it began.
        snapshot_id: The lake's snapshot when it ended.
        rules: The name of all that it was told (`cdp.up_to_date.rules`).
    """

    run_id: str
    as_of: datetime
    finished_at: datetime
    touches: int
    snapshot_id: int
    rules: str


def touches(store: psycopg.Connection) -> int | None:
    """How many statements of others may have changed what a run reads; None while somebody's transaction is open."""
    found = store.execute(TOUCHES).fetchall()[0][0]
    return None if found is None else int(found)


def forget(store: psycopg.Connection) -> None:
    """From now on nothing is known to be up to date."""
    store.execute("delete from standing")


def note(store: psycopg.Connection, left: Standing) -> None:
    """A run has ended well and left this."""
    store.execute(f"insert into standing ({COLUMNS}) values (%s, %s, %s, %s, %s, %s)", astuple(left))  # noqa: S608 - a constant


def last(store: psycopg.Connection) -> Standing | None:
    """What the last run left, if it ended well and none has begun since."""
    with store.cursor(row_factory=class_row(Standing)) as cursor:
        return cursor.execute(f"select {COLUMNS} from standing").fetchone()  # noqa: S608 - a constant


def snapshot(lake: psycopg.Connection) -> int:
    """The lake's newest snapshot, by its catalog: the lake itself need not be opened."""
    return int(lake.execute(f"select max(snapshot_id) from {LAKE_SCHEMA}.ducklake_snapshot").fetchall()[0][0])  # noqa: S608 - a constant
