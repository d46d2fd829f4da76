"""What a split would do to points, shown before it is done: by the split's own code, undone afterwards."""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from cdp.loyalty import operations
from cdp.loyalty.operations import Act, Standing
from cdp.store import books


@dataclass(frozen=True)
class Shared:
    """A transaction that drew from both sides while they were one; it stays where it was drawn.

    Attributes:
        points: What it moved on each side, in the order of the sides.
    """

    transaction_id: str
    kind: str
    occurred_at: datetime
    points: tuple[int, int]


@dataclass(frozen=True)
class Parting:
    """The customers as they would be, each with how its points would stand, and what was spent from both."""

    before: Standing
    sides: list[tuple[str, Standing]]
    shared: list[Shared]


def parted(store: psycopg.Connection, before: Standing, customers: list[str], act: Act) -> Parting:
    """How the two customers of a split stand, inside the transaction that split them.

    Args:
        store: In that transaction.
        before: How the one customer stood.
        customers: The one that stays, the one that leaves.
        act: For whom.
    """
    groups = {customer: operations.read(store, customer, act) for customer in customers}
    accounts = [[account.account_id for account in group.accounts] for group, _ in groups.values()]
    rows = books.on_both(store, *accounts)
    return Parting(
        before,
        [(c, stands) for c, (_, stands) in groups.items()],
        [Shared(t, k, at, (a, b)) for t, k, at, a, b in rows],
    )
