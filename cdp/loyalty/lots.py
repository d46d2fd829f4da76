"""Lots, allocations, deficits and legs: what dated facts make of a customer's accounts. Derived, never stored truth.

A fact is what happened (earned, spent, taken back, restored); its legs are the amounts it moves in each account. Facts in
order of business time decide which lots a debit draws from; a fact that arrives late decides again.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

NEVER = datetime.max.replace(tzinfo=UTC)
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's URL namespace


@dataclass(frozen=True)
class Fact:
    """One transaction of the ledger, before it is known which lots it touches.

    Attributes:
        fact_id: Its transaction.
        key: Its posting key: what a restoration names.
        account: The account that earned or asked.
        amount: Signed, in the unit's smallest part.
        at: Business time.
        order_id: The order whose lot a debit draws from first.
        scope: Accounts that a debit may draw from; its own alone where empty.
        expires_at: When the lot of a credit ends; for a restoration the least it must still live.
        reverses: The posting key of the debit that a credit gives back, or of the credit that a debit takes back.
        legs: Fixed legs: a debit over accounts that are no longer one customer's is not spread again.
        says: What it was: its kind, and the rules that gave it.
    """

    fact_id: str
    key: str
    account: str
    amount: int
    at: datetime
    order_id: str | None = None
    scope: tuple[str, ...] = ()
    expires_at: datetime | None = None
    reverses: str | None = None
    legs: Mapping[str, int] | None = None
    says: frozenset[str] = frozenset()

    @property
    def position(self) -> tuple[datetime, int, str]:
        """The order of facts: by business time; at one moment credits, then debits, then what gives them back."""
        return self.at, 1 if self.amount < 0 else 2 if self.reverses else 0, self.fact_id


@dataclass
class Lot:
    """What is left of one credit in one account.

    Attributes:
        at: When it was earned; for restored units when the original lot was.
        opened_at: When it came to be.
        origin: The lot whose units it gives back.
    """

    lot_id: str
    fact_id: str
    account: str
    amount: int
    remaining: int
    at: datetime
    opened_at: datetime
    expires_at: datetime | None = None
    order_id: str | None = None
    origin: str | None = None

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """The order in which lots are drawn from: soonest to expire, then oldest, then id."""
        return self.expires_at or NEVER, self.at, self.lot_id

    @property
    def expiry(self) -> str:
        """The transaction that takes out what is left at its end."""
        return str(uuid.uuid5(NAMESPACE, f"expire#{self.lot_id}"))

    @property
    def ends_at(self) -> datetime:
        """When what is left goes; units given back after their time go at once."""
        return max(self.expires_at or NEVER, self.opened_at)


class Ends(Protocol):
    """Moves the ends of open lots: what happens later decides when they go."""

    def turns(self, until: datetime) -> Iterator[datetime]:
        """The moments up to `until`, in order, at which something besides facts moves ends; each is then past."""

    def after(self, fact: Fact, lots: Iterable[Lot]) -> None:
        """A fact was applied; these lots are open."""

    def settle(self, lots: Iterable[Lot], at: datetime) -> None:
        """Give these open lots the ends they have at a moment."""


@dataclass
class State:
    """Accounts after all their facts. Σ open lots − Σ deficits = balance = Σ legs, in each account.

    Attributes:
        lots: By id.
        allocations: What each debit drew from each lot: (transaction, lot) → units.
        deficits: What a debit took beyond the lots: (transaction, account) → units, oldest first.
        legs: What each transaction moves in each account.
        until: Nothing ends after this moment: a fact of the future ends no lot of today.
        ends: What moves the ends of lots; none where they are known when lots are opened.
    """

    lots: dict[str, Lot] = field(default_factory=dict)
    allocations: dict[tuple[str, str], int] = field(default_factory=dict)
    deficits: dict[tuple[str, str], int] = field(default_factory=dict)
    legs: dict[tuple[str, str], int] = field(default_factory=dict)
    expired: dict[str, Lot] = field(default_factory=dict)
    until: datetime = NEVER
    ends: Ends | None = None
    _facts: dict[str, list[str]] = field(default_factory=dict)
    _restored: dict[tuple[str, str], int] = field(default_factory=dict)

    def balance(self, account: str) -> int:
        """Σ open lots − Σ deficits of one account."""
        held = sum(lot.remaining for lot in self.lots.values() if lot.account == account)
        return held - sum(owed for (_, where), owed in self.deficits.items() if where == account)

    def apply(self, fact: Fact) -> None:
        """One more fact, not earlier than those before it."""
        self.expire(min(fact.at, self.until))
        self._facts.setdefault(fact.key, []).append(fact.fact_id)
        if fact.legs is not None:
            for account, amount in sorted(fact.legs.items()):
                self._move(fact, account, amount)
        elif fact.reverses is not None and fact.amount > 0:
            self._restore(fact, fact.account, fact.amount)
        elif fact.amount > 0:
            self._open(fact, fact.account, fact.amount, fact.at, fact.expires_at, fact.order_id)
        elif fact.amount < 0:
            self._draw(fact, -fact.amount, fact.scope or (fact.account,), fact.account)
        if self.ends is not None:
            self.ends.after(fact, self._open_lots())
            self.ends.settle(self._open_lots(), fact.at)

    def expire(self, until: datetime) -> None:
        """What is left of lots at their end goes, lot by lot."""
        for moment in self.ends.turns(until) if self.ends is not None else ():
            self._expire(moment)
            assert self.ends is not None
            self.ends.settle(self._open_lots(), moment)
        self._expire(until)

    def _open_lots(self) -> list[Lot]:
        return [lot for lot in self.lots.values() if lot.remaining]

    def _expire(self, until: datetime) -> None:
        due = [lot for lot in self.lots.values() if lot.remaining and lot.expires_at and lot.ends_at <= until]
        for lot in sorted(due, key=lambda lot: (lot.ends_at, lot.lot_id)):
            self.expired[lot.expiry] = lot
            self._leg(lot.expiry, lot.account, -lot.remaining)
            self._take(lot.expiry, lot, lot.remaining)

    def _move(self, fact: Fact, account: str, amount: int) -> None:
        if amount > 0 and fact.reverses is not None:
            self._restore(fact, account, amount, (account,))
        elif amount > 0:
            self._open(fact, account, amount, fact.at, fact.expires_at, fact.order_id)
        elif amount < 0:
            self._draw(fact, -amount, (account,), account)

    def _open(
        self, fact: Fact, account: str, amount: int, at: datetime, expires_at: datetime | None,
        order_id: str | None, origin: Lot | None = None,
    ) -> None:  # fmt: skip
        """A credit opens a lot, which first pays the account's deficits, the oldest first."""
        name = f"{fact.fact_id}#{account}" + (f"#{origin.lot_id}" if origin else "")
        while (lot_id := str(uuid.uuid5(NAMESPACE, name))) in self.lots:
            name += "+"
        lot = Lot(
            lot_id, fact.fact_id, account, amount, amount, at, fact.at, expires_at, order_id,
            (origin.origin or origin.lot_id) if origin else None,
        )  # fmt: skip
        self.lots[lot.lot_id] = lot
        self._leg(fact.fact_id, account, amount)
        if lot.ends_at <= fact.at:
            return
        for debit, where in [key for key in self.deficits if key[1] == account]:
            self.deficits[debit, where] -= self._take(debit, lot, self.deficits[debit, where])
            if not self.deficits[debit, where]:
                del self.deficits[debit, where]

    def _draw(self, fact: Fact, amount: int, accounts: tuple[str, ...], own: str) -> None:
        """A debit draws from what it takes back first, then its own order's lot, then open lots in their order; the rest is a deficit."""
        lots = [lot for lot in self.lots.values() if lot.remaining and lot.account in accounts]
        taken_back = set(self._facts.get(fact.reverses or "", []))
        lots.sort(
            key=lambda lot: (
                lot.fact_id not in taken_back,
                fact.order_id is None or lot.order_id != fact.order_id,
                lot.order,
            )
        )
        for lot in lots:
            if not amount:
                return
            taken = self._take(fact.fact_id, lot, amount)
            self._leg(fact.fact_id, lot.account, -taken)
            amount -= taken
        if amount:
            self.deficits[fact.fact_id, own] = self.deficits.get((fact.fact_id, own), 0) + amount
            self._leg(fact.fact_id, own, -amount)

    def _restore(self, fact: Fact, own: str, left: int, within: tuple[str, ...] = ()) -> None:
        """Units go back to what they came from: an open deficit first, then the lots, the last drawn first."""
        debits = set(self._facts.get(fact.reverses or "", []))
        for (debit, account), owed in list(self.deficits.items()):
            if debit in debits and left and (not within or account in within):
                back = min(left, owed)
                self.deficits[debit, account] = owed - back
                if back == owed:
                    del self.deficits[debit, account]
                self._leg(fact.fact_id, account, back)
                left -= back
        for (debit, lot_id), drawn in reversed(list(self.allocations.items())):
            lot = self.lots[lot_id]
            if debit in debits and left and (not within or lot.account in within):
                back = min(left, drawn - self._restored.get((debit, lot_id), 0))
                if back:
                    self._restored[debit, lot_id] = self._restored.get((debit, lot_id), 0) + back
                    ends = lot.expires_at and max(lot.expires_at, fact.expires_at or lot.expires_at)
                    self._open(fact, lot.account, back, lot.at, ends, lot.order_id, lot)
                    left -= back
        if left:
            self._open(fact, own, left, fact.at, None, fact.order_id)

    def _take(self, debit: str, lot: Lot, amount: int) -> int:
        taken = min(amount, lot.remaining)
        if taken:
            lot.remaining -= taken
            self.allocations[debit, lot.lot_id] = self.allocations.get((debit, lot.lot_id), 0) + taken
        return taken

    def _leg(self, transaction: str, account: str, amount: int) -> None:
        self.legs[transaction, account] = self.legs.get((transaction, account), 0) + amount


def derive(facts: Iterable[Fact], until: datetime, ends: Ends | None = None) -> State:
    """The state of a customer's accounts after these facts, in whatever order they are given; expiries up to `until`.

    What gives a debit back cannot come before it: its time is then the debit's.
    """
    state, every, latest = State(until=until, ends=ends), list(facts), dict[str, datetime]()
    for fact in every:
        if fact.amount < 0:
            latest[fact.key] = max(fact.at, latest.get(fact.key, fact.at))
    moved = [
        replace(fact, at=max(fact.at, latest[fact.reverses])) if fact.amount > 0 and fact.reverses in latest else fact
        for fact in every
    ]
    for fact in sorted(moved, key=lambda fact: fact.position):
        state.apply(fact)
    state.expire(until)
    return state
