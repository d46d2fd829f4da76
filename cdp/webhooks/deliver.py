"""Bring changes to their receivers: each receiver by itself, one change after the other, until it is taken or given up."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog

from cdp.clock import system_now
from cdp.store import changes, feed, webhooks
from cdp.store.attend import attend
from cdp.store.connect import connect, owner_address
from cdp.store.webhooks import Webhook
from cdp.webhooks import guard, message
from cdp.webhooks.post import SECONDS, Answer, post
from cdp.workspace import Workspace

# Seconds from one attempt to the next, as Standard Webhooks publishes them: the first at once, ten in three days.
SCHEDULE = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
GONE = 410
TURN = 5.0  # seconds after which a receiver gives its turn to others, when its call has ended
LEASE = timedelta(seconds=TURN + SECONDS + 100)  # a turn, its last call, and however long a name takes to look up
AT_ONCE = 8  # receivers that are called at the same time
BATCH = 100  # changes of one turn
log = structlog.get_logger("webhooks")


class Courier:
    """Calls the webhooks of one workspace.

    Args:
        workspace: Its store, its settings, and the key that secrets are derived from.
        clock: The present.
        send: As `post`.
    """

    def __init__(
        self, workspace: Workspace, clock: Callable[[], datetime] = system_now, send: Callable[..., Answer] = post
    ) -> None:
        self._workspace, self._clock, self._send = workspace, clock, send
        self._pepper = workspace.secrets["pepper"]
        self._deployment = feed.deployment(self._pepper)
        self._busy, self._stop = threading.BoundedSemaphore(AT_ONCE), threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        self._stop = stop
        with ThreadPoolExecutor(AT_ONCE, "webhook") as pool:
            attend(self._workspace, stop, lambda store: self.look(store, pool.submit), "webhooks")

    def look(self, store: psycopg.Connection, submit: Callable[..., Any]) -> int:
        """Hand every receiver that has something before it to a thread; returns how many."""
        changes.sequence(store)
        free, found, now = 0, list[Webhook](), self._clock()
        while free < AT_ONCE and self._busy.acquire(blocking=False):
            free += 1
        try:
            found = webhooks.lease(store, now, now + LEASE, free) if free else []
        finally:
            for _ in range(free - len(found)):
                self._busy.release()
        for hook in found:
            submit(self._serve, hook)
        return len(found)

    def _serve(self, hook: Webhook) -> None:
        try:
            with connect(owner_address(self._workspace)) as store:
                self.serve(store, hook)
        except Exception as error:  # the lease ends by itself, and what was not noted is sent again
            log.error("a turn was broken off", webhook=hook.name, error=type(error).__name__)
        finally:
            self._busy.release()

    def serve(self, store: psycopg.Connection, hook: Webhook) -> None:
        """One turn: what is to be sent once more, then what comes next, until the time is over or something is not taken."""
        until = time.monotonic() + TURN
        if self._replays(store, hook, until) and hook.next_at <= self._clock():
            self._go_on(store, hook, until)
        webhooks.keep(store, hook, leased_until=self._clock())

    def _replays(self, store: psycopg.Connection, hook: Webhook, until: float) -> bool:
        """Whether all of it was taken."""
        for letter in webhooks.dead_letters(store, hook.webhook_id, due=True):
            if self._is_over(until):
                return False
            answer = self._deliver(hook, letter)
            if answer.status == GONE:
                webhooks.keep(store, hook, disabled_at=self._clock(), last_error=answer.reason)
            with store.transaction():
                kept = webhooks.settle(store, hook, letter["position"], None if answer.taken else answer.reason)
            if not kept or not answer.taken:
                return False
        return True

    def _go_on(self, store: psycopg.Connection, hook: Webhook, until: float) -> None:
        page = feed.page(store, hook.position, hook.types or [], BATCH)
        for change in page.changes:
            if self._is_over(until):
                return
            answer = self._deliver(hook, change)
            if not self._note(store, hook, change["position"], answer) or not answer.taken:
                return
            hook = replace(hook, attempts=0, failing_since=None)
        webhooks.keep(store, hook, position=page.position)

    def _is_over(self, until: float) -> bool:
        return self._stop.is_set() or time.monotonic() >= until

    def _deliver(self, hook: Webhook, change: Mapping[str, Any]) -> Answer:
        now = self._clock()
        body, name = message.event(change, self._deployment), message.message_id(change, self._deployment)
        secrets = [message.secret(self._pepper, hook.webhook_id, generation) for generation in hook.signs_with(now)]
        try:
            where = guard.target(hook.url, networks(self._workspace))
            answer = self._send(where, body, message.headers(name, body, secrets, now))
        except guard.Refused as error:
            answer = Answer(None, 0, error.message)
        except OSError:
            answer = Answer(None, 0, "its name cannot be looked up")
        log.info("webhook", webhook=hook.name, message=name, type=change["type"], status=answer.status)
        return answer

    def _note(self, store: psycopg.Connection, hook: Webhook, position: int, answer: Answer) -> bool:
        """Write how a delivery went; False if the lease was lost meanwhile."""
        now = self._clock()
        if answer.taken:
            fresh = {"failing_since": None, "last_error": None}
            return webhooks.keep(store, hook, position=position, attempts=0, next_at=now, delivered_at=now, **fresh)
        failed = {"last_error": answer.reason, "failing_since": hook.failing_since or now}
        if answer.status == GONE:
            return webhooks.keep(store, hook, disabled_at=now, **failed)
        if hook.attempts + 1 < len(SCHEDULE):
            wait = timedelta(seconds=max(SCHEDULE[hook.attempts + 1], answer.wait))
            return webhooks.keep(store, hook, attempts=hook.attempts + 1, next_at=now + wait, **failed)
        with store.transaction():
            if kept := webhooks.keep(store, hook, position=position, attempts=0, next_at=now, **failed):
                webhooks.bury(store, hook, position, answer.reason, now)
        return kept


def networks(workspace: Workspace) -> list[str]:
    """Networks that are not public and allowed all the same."""
    return [one.strip() for one in workspace.settings.webhook_networks.split(",") if one.strip()]
