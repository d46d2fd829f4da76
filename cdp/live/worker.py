"""Look at what came in, a few times a second, and write what it means ahead of the next run."""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import psycopg
import structlog

from cdp.clock import system_now
from cdp.consent.policy import load_policy
from cdp.identity_rules import load_identity_rules
from cdp.live.rows import bring, small_lake
from cdp.live.write import Attach, Seen, write
from cdp.loyalty.programme import load_programme
from cdp.privacy.suppression import LIST
from cdp.sources.load import load_sources
from cdp.sources.model import Source
from cdp.store import inbox
from cdp.store.attend import attend
from cdp.workspace import Workspace

MOST = 500  # events of one look
log = structlog.get_logger("live")


class Worker:
    """Sees events of one workspace.

    Args:
        workspace: Its sources, programme, policy and rules are read when this is made.
        attach: See `write.Seen`.
        new_id: A new customer's id at a moment.
        clock: The present.
    """

    def __init__(
        self,
        workspace: Workspace,
        attach: Attach,
        new_id: Callable[[datetime], str],
        clock: Callable[[], datetime] = system_now,
    ) -> None:
        self._workspace, self._attach, self._new_id, self._clock = workspace, attach, new_id, clock
        self._sources = {source.source: source for source in load_sources(workspace)}
        self._programme, self._policy, self._rules = (
            load_programme(workspace),
            load_policy(workspace),
            load_identity_rules(workspace),
        )

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        attend(self._workspace, stop, self.look, "live")

    def look(self, store: psycopg.Connection) -> int:
        """See the oldest events; returns how many. What cannot be seen now is left to the next run, which says why."""
        with store.transaction():
            found, before = inbox.unseen(store, MOST), self._suppressed()
            by_source: dict[str, list[tuple[int, str]]] = defaultdict(list)
            for number, name, text in found:
                by_source[name].append((number, text))
            for name, rows in by_source.items():
                if source := self._sources.get(name):
                    self._see(store, source, rows)
            inbox.seen(store, [number for number, *_ in found], self._clock())
            if self._suppressed() != before:  # somebody was erased meanwhile: look again, by the list as it is now
                raise psycopg.Rollback
        return len(found)

    def _see(self, store: psycopg.Connection, source: Source, rows: Sequence[tuple[int, str]]) -> None:
        now = self._clock()
        try:
            with small_lake() as lake, store.transaction():
                bring(
                    lake,
                    self._workspace,
                    list(self._sources.values()),
                    source,
                    [text for _, text in rows],
                    self._rules,
                    self._policy,
                )
                mark = f"live:{rows[0][0]}:{rows[-1][0]}"
                write(lake, store, Seen(self._programme, self._attach, lambda: self._new_id(now), now, mark))
        except Exception as error:  # one odd event must not stop those that come after it
            if store.closed:
                raise
            log.warning("left to the next run", source=source.source, events=len(rows), error=type(error).__name__)

    def _suppressed(self) -> tuple[int, int]:
        path: Path = self._workspace.path("privacy", LIST)
        return (path.stat().st_size, path.stat().st_mtime_ns) if path.exists() else (0, 0)
