"""Keep what is derived from customers: after every change of somebody, and of everybody now and then.

A change of the feed says whom to look at; what changes with time alone (who was not seen for 90 days, a tier that ends, a
grant that runs out) is found by a sweep over everybody, in pages between other work. What came out otherwise than it was
told last is told: one transaction with the note that it was, so that a kill tells nothing twice and forgets nothing.
"""

import hashlib
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, get_args

import psycopg
import structlog

from cdp.clock import system_now
from cdp.consent.policy import load_policy
from cdp.consent.resolve import Material
from cdp.derived.audiences import load_audiences, may_reach, usable_segments
from cdp.insight.rules import load_insight
from cdp.loyalty.programme import load_programme
from cdp.loyalty.recall import tiers
from cdp.store import changes, consents, customers, derived, feed, scores
from cdp.store.attend import attend
from cdp.workspace import Workspace

PAGE = 200  # customers of one look
OWN = ("tier.changed", "audience.entered", "audience.left")
HEARD = [kind for kind in get_args(changes.Type) if kind not in OWN]
log = structlog.get_logger("derived")


class Follower:
    """Follows the customers of one workspace.

    Args:
        workspace: Its audiences, policy and programme are read when this is made.
        clock: The present.
    """

    def __init__(self, workspace: Workspace, clock: Callable[[], datetime] = system_now) -> None:
        self._workspace, self._clock = workspace, clock
        self._policy, self._programmes = load_policy(workspace), load_programme(workspace)
        self._audiences, self._insight = (
            load_audiences(workspace, self._policy, self._programmes),
            load_insight(workspace),
        )
        said = f"{self._audiences.model_dump_json()}\n{self._policy.model_dump_json()}\n{self._programmes.fingerprint}"
        self._rules = hashlib.sha256(said.encode()).hexdigest()

    def run(self, stop: threading.Event) -> None:
        """Until told to stop. Of several followers one leads; the others wait for the end of its connection."""
        leading: list[psycopg.Connection] = []

        def look(store: psycopg.Connection) -> bool:
            if store not in leading:
                if not derived.lead(store):
                    return False
                leading[:] = [store]
            return self.look(store)

        attend(self._workspace, stop, look, "derived")

    def look(self, store: psycopg.Connection) -> bool:
        """Look at whoever changed, and at the next ones of a sweep; whether there was anybody."""
        before = derived.state(store)
        page = feed.page(store, before.position, HEARD, PAGE)
        concerned = sorted({who for change in page.changes for who in _concerned(change)})
        with store.transaction():
            now = derived.state(store, locked=True)
            if now.position != before.position:
                return True  # another one was faster
            if page.position != now.position:
                self._tell(store, concerned)
                derived.keep(store, position=page.position)
            return self._sweep(store, now) or bool(concerned)

    def _sweep(self, store: psycopg.Connection, now: derived.State) -> bool:
        moment = self._clock()
        due = now.swept_at is None or moment - now.swept_at >= timedelta(hours=self._audiences.sweep_hours)
        rules = self._rules + (scores.newest(store) if self._audiences.use_segments else "")
        if now.rules != rules or (due and not now.sweeping):
            if gone := derived.unknown(store, list(self._audiences.audiences), PAGE):
                self._left(store, gone)
            else:
                derived.keep(store, rules=rules, sweeping=True, sweep_after=None, swept_at=moment)
            return True
        if not now.sweeping:
            return False
        page = derived.everybody(store, now.sweep_after, PAGE)
        self._tell(store, page)
        derived.keep(store, sweep_after=page[-1] if page else None, sweeping=bool(page))
        return bool(page)

    def _tell(self, store: psycopg.Connection, ids: list[str]) -> None:
        """Tell of these together; where one of them is odd, of each by itself, so that it holds nobody else back."""
        try:
            with store.transaction():
                self._compare(store, ids)
        except Exception as error:
            if store.closed or isinstance(error, psycopg.OperationalError):
                raise
            if len(ids) == 1:
                log.error("nothing is told of a customer", customer_id=ids[0], error=type(error).__name__)
                return
            for one in ids:
                self._tell(store, [one])

    def _compare(self, store: psycopg.Connection, ids: list[str]) -> None:
        """Compare what is so with what was told last, and tell what is not the same."""
        if not ids:
            return
        living = derived.hold(store, ids)
        moment, profiles = self._clock(), customers.profiles(store, sorted(living))
        known = sorted(customer for customer, row in profiles.items() if row["kind"] == "known")
        held = tiers(store, known, self._programmes.at(moment), moment)
        self._tell_tiers(store, ids, held, moment)
        consent = consents.materials(store, known) if known else {}
        segments = self._segments(store, known, consent, moment)
        wanted = {
            (name, customer)
            for name, audience in self._audiences.audiences.items()
            for customer in known
            if audience.holds(profiles[customer]["profile"], held.get(customer), moment, segments.get(customer, ()))
            and may_reach(self._policy, audience.purpose, consent[customer], moment)
        }
        told = derived.memberships(store, ids)
        self._left(store, sorted(told - wanted))
        entered = sorted(wanted - told)
        derived.enter(store, entered, moment)
        changes.add(store, [("audience.entered", customer, {"audience": name}) for name, customer in entered], moment)

    def _segments(
        self, store: psycopg.Connection, known: list[str], consent: dict[str, Material], moment: datetime
    ) -> dict[str, list[str]]:
        if not self._audiences.use_segments:
            return {}
        return usable_segments(scores.of_customers(store, known), consent, self._policy, self._insight.purpose, moment)

    def _left(self, store: psycopg.Connection, pairs: list[tuple[str, str]]) -> None:
        derived.leave(store, pairs)
        told = [("audience.left", customer, {"audience": name}) for name, customer in pairs]
        changes.add(store, told, self._clock())

    def _tell_tiers(self, store: psycopg.Connection, ids: list[str], held: dict[str, str], moment: datetime) -> None:
        told = derived.tiers(store, ids)
        moved = {c: held.get(c) for c in ids if held.get(c) != told.get(c)}
        derived.set_tiers(store, moved, moment)
        said = [("tier.changed", c, {"from": told[c], "to": tier}) for c, tier in moved.items() if tier and c in told]
        changes.add(store, said, moment)


def _concerned(change: dict[str, Any]) -> set[str]:
    """Everybody whom a change concerns: merges and splits name the other side."""
    details = change["details"]
    named = {change["customer_id"], details.get("merged_into"), *(details.get("from") or ())}
    return {who for who in named if isinstance(who, str) and len(who) == 36}
