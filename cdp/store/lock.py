"""The queue: runs, erasure and maintenance go one after the other, and each says what it waits for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from cdp.errors import Busy
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

RUN_LOCK = 7_201_002
POLL_SECONDS = 0.5


@contextmanager
def queue(workspace: Workspace, name: str, *, wait: bool, log: Callable[[str], None]) -> Iterator[None]:
    """Hold the queue for the length of the block. A killed holder frees it, because its connection dies with it.

    Args:
        workspace: Whose queue.
        name: What holds it, shown to those who wait.
        wait: Wait for the holder, or refuse at once.
        log: Told what is waited for.

    Raises:
        Busy: If somebody holds it and `wait` is false.
    """
    with connect(owner_address(workspace)) as connection:
        connection.execute("select set_config('application_name', %s, false)", [f"cdp {name}"[:63]])
        told = ""
        while not _try(connection):
            holder = _holder(connection)
            if not wait:
                raise Busy(f"{holder} is in progress", "wait for it to end, or run again without --no-wait")
            if holder != told:
                log(f"waiting for {holder} to end")
                told = holder
            time.sleep(POLL_SECONDS)
        yield


def _try(connection: psycopg.Connection) -> bool:
    found = connection.execute("select pg_try_advisory_lock(%s)", [RUN_LOCK]).fetchone()
    return bool(found and found[0])


def _holder(connection: psycopg.Connection) -> str:
    found = connection.execute(
        "select a.application_name, a.backend_start from pg_locks l join pg_stat_activity a using (pid) "
        "where l.locktype = 'advisory' and l.objid = %s and l.granted",
        [RUN_LOCK],
    ).fetchone()
    return f"{found[0]} (since {found[1]:%H:%M:%S} UTC)" if found else "another run"
