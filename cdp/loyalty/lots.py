"""Lots, allocations and deficits of one account: derived from its entries, in order of business time, never stored truth."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """A ledger entry as lots see it: a credit opens a lot, a debit draws from lots."""

    entry_id: str
    amount: int
    occurred_at: datetime
    order_id: str | None = None
    expires_at: datetime | None = None


@dataclass
class Lot:
    """What is left of one credit."""

    entry: Entry
    remaining: int

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """The order in which lots are drawn from: soonest to expire, then oldest, then id."""
        return self.entry.expires_at or NEVER, self.entry.occurred_at, self.entry.entry_id


@dataclass
class State:
    """An account after all its entries. Σ open lots − Σ deficits = balance = Σ entries."""

    lots: list[Lot] = field(default_factory=list)
    allocations: dict[tuple[str, str], int] = field(default_factory=dict)
    deficits: dict[str, int] = field(default_factory=dict)

    @property
    def balance(self) -> int:
        """Σ open lots − Σ deficits."""
        return sum(lot.remaining for lot in self.lots) - sum(self.deficits.values())

    def _draw(self, debit: str, lot: Lot, amount: int) -> int:
        taken = min(amount, lot.remaining)
        if taken:
            lot.remaining -= taken
            self.allocations[debit, lot.entry.entry_id] = self.allocations.get((debit, lot.entry.entry_id), 0) + taken
        return taken


def derive(entries: Iterable[Entry]) -> State:
    """The state of one account after these entries.

    A clawback draws from the lot of its own order first, any debit then from open lots in their order; what the lots
    do not cover is a deficit, which later credits absorb, oldest deficit first. At one moment credits come first.
    """
    state = State()
    for entry in sorted(entries, key=lambda e: (e.occurred_at, e.amount < 0, e.entry_id)):
        if entry.amount > 0:
            lot = Lot(entry, entry.amount)
            state.lots.append(lot)
            for debit in list(state.deficits):
                state.deficits[debit] -= state._draw(debit, lot, state.deficits[debit])
                if state.deficits[debit] == 0:
                    del state.deficits[debit]
        elif entry.amount < 0:
            left = -entry.amount
            own_first = sorted(
                state.lots,
                key=lambda lot: (lot.entry.order_id != entry.order_id or entry.order_id is None, lot.order),
            )
            for lot in own_first:
                left -= state._draw(entry.entry_id, lot, left)
            if left:
                state.deficits[entry.entry_id] = left
    return state
