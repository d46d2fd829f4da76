"""What is to be posted, and the accounts of one customer, locked for it."""

import hashlib
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import psycopg

from cdp.errors import Conflict
from cdp.loyalty.lots import Fact, State
from cdp.loyalty.programme import Programme
from cdp.store import ledger, plans
from cdp.store.ledger import Account

FRESH = (
    "reward|",
    "redeem|",
    "adjust|",
    "capture|",
    "reverse|",
)  # keys that the operation itself makes: nothing can name them before


def transaction_id(text: str) -> str:
    """An id that follows from a text: the same fact has the same one for ever."""
    return str(uuid.UUID(bytes=hashlib.md5(text.encode(), usedforsecurity=False).digest()))


@dataclass(frozen=True)
class Posting:
    """A fact to post. The same key and revision, or the same id, post once, ever.

    Attributes:
        amount: Signed, in the unit's smallest part.
        across: A debit may draw from every account of the record's customer; otherwise it stays in the record's own.
        reverses: Posting key of the debit that a credit gives back, or of the credit that a debit takes back.
        expires_at: When the lot of a credit ends; for a restoration the least it must still live.
        transaction: An id that the client made; by default it follows from key and revision.
        contra: The programme's account on the other side; by default that of the kind.
        details: What an earning was bound to: the level, and what each rule gave.
        unit: Code of the unit; where left out, the one that the programme is looked at through.
    """

    key: str
    revision: int
    record_id: str
    kind: str
    amount: int
    occurred_at: datetime
    reason: str
    order_id: str | None = None
    original_order_id: str | None = None
    across: bool = False
    actor: str = "pipeline"
    reverses: str | None = None
    expires_at: datetime | None = None
    transaction: str | None = None
    contra: str | None = None
    details: dict[str, Any] | None = None
    unit: str = ""

    @property
    def draws(self) -> int | None:
        """How much it draws from lots in their order; None where it looks at others first."""
        if self.reverses or (
            self.amount < 0 and not (self.across and (self.kind == "redeem" or self.order_id is None))
        ):
            return None
        return max(0, -self.amount)

    @property
    def says(self) -> frozenset[str]:
        """What it was: its kind, and the rules that gave it."""
        return frozenset({self.kind, *(self.reason.split("+") if self.kind == "earn" else ())})

    @cached_property
    def transaction_id(self) -> str:
        """The id of its transaction."""
        return self.transaction or transaction_id(f"{self.key}#{self.revision}")


@dataclass
class Group:
    """The accounts of one customer in one programme, locked, with what is to be posted to them.

    Attributes:
        accounts: Those that were ever opened.
        todo: What is to be posted.
        open: Open lots and deficits, once read.
        records: All records of the customer, and of those it shares units with.
        customer_of: The customer of each record that is somebody's.
        held: Set aside, once read.
        whole: Whether all open lots are at hand, or only those that the next debit draws from.
        asked: Whether transactions were posted before, once read.
    """

    accounts: list[Account]
    todo: list[Posting] = field(default_factory=list)
    open: State | None = None

    records: tuple[str, ...] = ()
    customer_of: dict[str, str] = field(default_factory=dict)
    held: int | None = None
    whole: bool = True
    asked: dict[str, bool] = field(default_factory=dict)

    def add(self, account: Account) -> None:
        """One account more."""
        self.accounts = sorted([*self.accounts, account], key=lambda a: a.account_id)
        for name in ("by_number", "by_record"):
            self.__dict__.pop(name, None)

    @cached_property
    def by_number(self) -> dict[int, str]:
        """Number → id of the accounts."""
        return {account.number: account.account_id for account in self.accounts}

    @cached_property
    def by_record(self) -> dict[str, Account]:
        """Record → account."""
        return {account.record_id: account for account in self.accounts}

    def own(self, record: str) -> list[str]:
        """The records of a record's customer alone."""
        customer = self.customer_of.get(record)
        return [other for other in self.records if self.customer_of.get(other) == customer] if customer else [record]

    def fact(self, posting: Posting) -> Fact:
        """What the posting means for these accounts."""
        own = self.by_record[posting.record_id].account_id
        order = None if posting.kind == "redeem" else posting.original_order_id or posting.order_id
        scope = tuple(self.by_number[number] for number in self.scope(posting))
        return Fact(posting.transaction_id, posting.key, own, posting.amount, posting.occurred_at, order, scope, posting.expires_at, posting.reverses, says=posting.says)  # fmt: skip

    def scope(self, posting: Posting) -> tuple[int, ...]:
        """Numbers of the accounts that the posting may touch, its own first."""
        own = self.by_record[posting.record_id].number
        if not posting.across and posting.reverses is None:
            return (own,)
        return (own, *sorted(number for number in self.by_number if number != own))

    def is_late(self, awaited: Collection[str] = ()) -> bool:
        """Whether a fact does not come after all others, has to look back, or was given back before it came (`awaited`)."""
        first = min(posting.occurred_at for posting in self.todo)
        looks_back = any(posting.reverses or posting.key in awaited for posting in self.todo)
        return looks_back or any(a.last_at and a.last_at >= first for a in self.accounts)


def account_id(record_id: str, programme: Programme) -> str:
    """The account of a record in a programme: one for each, for ever."""
    return f"{programme.programme}:{programme.unit}:{record_id}"


def locked(
    store: psycopg.Connection,
    records: list[str],
    programme: Programme,
    now: datetime,
    wide: Collection[str] = (),
    asked: Sequence[str] = (),
    needed: int | None = None,
) -> dict[str, Group]:
    """The accounts of these records' customers, locked customer by customer in id order, opened where missing.

    For the records in `wide` the accounts of all their customer's records are opened: what a debit may draw from does
    not depend on which of them has earned yet. Whether the transactions `asked` about were posted before is read too. For
    one record, only the lots can be read that a debit of `needed` draws from.
    """
    if not records:
        return {}
    if not programme.units:
        raise Conflict(
            "this programme counts no units",
            "its plans and benefits are under /loyalty/plans and /loyalty/entitlements",
        )
    named, found = (programme.programme, programme.unit), dict[str, Group]()
    for group in _grouped(store, records, programme, now, asked, needed if len(records) == 1 else None):
        found |= dict.fromkeys(group.records, group)
    every = {*records, *(member for record in wide for member in found[record].records)}
    missing = sorted(record for record in every if record not in found[record].by_record)
    if missing:
        wanted = [(account_id(record, programme), record, *named) for record in missing]
        for account in ledger.open_accounts(store, wanted, now):
            found[account.record_id].add(account)
    return {record: found[record] for record in records}


def _grouped(
    store: psycopg.Connection,
    records: list[str],
    programme: Programme,
    now: datetime,
    asked: Sequence[str],
    needed: int | None,
) -> list[Group]:
    """The customers of these records, locked; those that share units are one group."""
    named = (programme.programme, programme.unit)
    if programme.household.mode != "pool_units":
        items, posted = ledger.lock(store, records, *named, now, asked, needed)
        return [_of(item, posted, asked, needed) for item in items]
    while True:
        shared = {record: pooled(store, [record], programme) for record in records}
        every = sorted({*records, *(r for others in shared.values() for r in others)})
        items, posted = ledger.lock(store, every, *named, now, asked)
        groups = [_of(item, posted, asked) for item in items]
        again = {record: pooled(store, [record], programme) for record in records}
        if again == shared:  # else somebody joined or left while we waited
            break
    for record, others in shared.items():
        mine = [group for group in groups if record in group.records or set(others) & set(group.records)]
        if len(mine) > 1:
            groups = [group for group in groups if group not in mine] + [_joined(mine)]
    return groups


def _of(item: ledger.Locked, posted: set[str], asked: Sequence[str], needed: int | None = None) -> Group:
    customer_of = {record: item.customer_id for record in item.records if item.customer_id is not None}
    group = Group(item.accounts, open=item.open, records=tuple(item.records), customer_of=customer_of)
    group.whole = needed is None
    group.held, group.asked = item.held if item.open is not None else None, {name: name in posted for name in asked}
    return group


def _joined(groups: list[Group]) -> Group:
    one = Group(sorted((a for group in groups for a in group.accounts), key=lambda a: a.account_id))
    one.records = tuple(sorted(record for group in groups for record in group.records))
    one.customer_of = {record: name for group in groups for record, name in group.customer_of.items()}
    if all(group.open is not None for group in groups):
        one.open, one.held, one.asked = State(), sum(group.held or 0 for group in groups), groups[0].asked
        for group in groups:
            assert group.open is not None
            one.open.lots |= group.open.lots
            one.open.deficits |= group.open.deficits
    return one


def pooled(store: psycopg.Connection, records: list[str], programme: Programme) -> list[str]:
    """All records of all who share units with one of these, theirs among them; none where units are not shared."""
    if programme.household.mode != "pool_units":
        return []
    return plans.sharing(store, records, programme.programme)
