"""The audit trail of one process: reads are noted in passing, everything else is written before the answer.

The chain's head is kept outside the store, in `privacy/audit_head.json`, so that a cut tail is found too.
"""

import contextlib
import fcntl
import getpass
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import psycopg

from cdp.clock import system_now
from cdp.errors import StoreUnavailable
from cdp.store import audit, keys
from cdp.store.audit import Event, Seal
from cdp.workspace import Workspace, write_whole

HEAD = "audit_head.json"
EVERY = 0.1  # seconds between writes of what was noted in passing
MOST_WAITING = 20_000
USED_EVERY = timedelta(minutes=1)


class Trail:
    """What a serving process tells the audit log.

    Args:
        workspace: Where the head is kept.
        store: Gives a connection for the length of a block.
        clock: The time of the rows.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: Callable[[], AbstractContextManager[psycopg.Connection]],
        clock: Callable[[], datetime] = system_now,
    ) -> None:
        self._workspace, self._store, self._clock = workspace, store, clock
        self._waiting: list[tuple[datetime, Event]] = []
        self._unsealed, self._used = True, dict[str, datetime]()
        self._lock, self._writing, self._stop = threading.Lock(), threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)

    def start(self) -> None:
        """Begin to write what is noted."""
        self._thread.start()

    def stop(self) -> None:
        """Write and seal what waits, and end."""
        self._stop.set()
        self._thread.join(timeout=10)
        with contextlib.suppress(psycopg.Error):
            self.flush()

    def note(self, event: Event) -> None:
        """Note a read; it is written within a moment.

        Raises:
            StoreUnavailable: If the log could not be written for so long that too much waits: nobody reads unseen.
        """
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise StoreUnavailable("the audit log cannot be written; nothing is shown until it can")
            self._waiting.append((self._clock(), event))

    @property
    def waiting(self) -> int:
        """Rows that were noted and are not written yet."""
        return len(self._waiting)

    def write(self, connection: psycopg.Connection, event: Event) -> None:
        """Write one row, committed when this returns, or with the transaction that is open."""
        audit.add(connection, [(self._clock(), event)])
        self._unsealed = True

    def flush(self) -> None:
        """Write and seal what waits; what was noted before is in the log when this returns."""
        with self._writing:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, []
            if not taken and not self._unsealed:
                return
        try:
            with self._store() as connection:
                if taken:
                    audit.add(connection, taken)
                    self._note_use(connection, taken)
                self._unsealed = (
                    seal(self._workspace, connection, self._clock()) is None and audit.unsealed(connection) > 0
                )
        except psycopg.Error:
            with self._lock:
                self._waiting = taken + self._waiting
            raise

    def _note_use(self, connection: psycopg.Connection, taken: list[tuple[datetime, Event]]) -> None:
        """When keys were used last, to the minute."""
        latest = {event.key_id: at for at, event in taken if event.key_id is not None}
        due = {key: at for key, at in latest.items() if key not in self._used or at - self._used[key] >= USED_EVERY}
        if due:
            keys.used(connection, due)
            self._used |= due

    def _work(self) -> None:
        while not self._stop.wait(EVERY):
            with contextlib.suppress(
                psycopg.Error, StoreUnavailable, OSError
            ):  # tried again in a moment; `note` fails closed
                self.flush()


def tell(
    workspace: Workspace,
    connection: psycopg.Connection,
    action: str,
    details: dict[str, Any],
    now: datetime,
    **about: Any,
) -> None:
    """Write and seal one row for a person at the command line; the account of the system names them."""
    audit.add(connection, [(now, Event(action, f"user:{getpass.getuser()}", details=details, **about))])
    seal(workspace, connection, now)


def seal(workspace: Workspace, connection: psycopg.Connection, now: datetime) -> Seal | None:
    """Seal what waits in the log and keep the chain's head outside the store."""
    made = audit.seal(connection, now)
    if made is not None:
        with _head_lock(workspace):
            head = read_head(workspace)
            if head is None or (
                head.seal_id < made.seal_id and audit.holds(connection, head)
            ):  # a cut end stays to be found
                write_whole(workspace.path("privacy", HEAD), json.dumps(asdict(made)))
    return made


def read_head(workspace: Workspace) -> Seal | None:
    """The head as kept outside the store."""
    path = workspace.path("privacy", HEAD)
    return Seal(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def verify(workspace: Workspace, connection: psycopg.Connection) -> list[str]:
    """What is wrong with the chain, in words; nothing where it is whole."""
    found, previous, last = [], audit.START, audit.FIRST - 1
    hashes = {}
    for sealed, rows, computed in audit.checked(connection):
        name = f"seal {sealed.seal_id} (rows {sealed.first_id} to {sealed.last_id})"
        if sealed.previous != previous or sealed.first_id != last + 1:
            found.append(f"{name} does not follow the seal before it: a seal was taken out or changed")
        if rows != sealed.rows:
            found.append(f"{name} covers {rows} rows, {sealed.rows} were sealed: rows were taken out or slipped in")
        elif computed != sealed.hash:
            found.append(f"{name}: a row was changed since it was sealed")
        previous, last, hashes[sealed.seal_id] = sealed.hash, sealed.last_id, sealed.hash
    head = read_head(workspace)
    if head is None and hashes:
        found.append(f"{HEAD} is missing: whether the log's end was cut cannot be told")
    elif head is not None and hashes.get(head.seal_id) != head.hash:
        kept = f"seal {head.seal_id} up to row {head.last_id}"
        found.append(f"the head kept outside the store ({kept}) is not in the store: the log's end was cut or changed")
    return found


@contextmanager
def _head_lock(workspace: Workspace) -> Iterator[None]:
    with workspace.path("privacy", f".{HEAD}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
