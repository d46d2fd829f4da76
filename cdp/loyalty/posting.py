"""Post to the ledger: facts once each, under locks; their legs follow from the lots, and follow anew when a fact comes late."""

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import psycopg

from cdp.loyalty.lots import NAMESPACE, Fact, Lot, State, derive
from cdp.loyalty.programme import Programme
from cdp.store import books, ledger
from cdp.store.ledger import Account, Leg

FRESH = (
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
        records: All records of the customer.
        customer_id: None for a record that is nobody's.
    """

    accounts: list[Account]
    todo: list[Posting] = field(default_factory=list)
    open: State | None = None

    records: tuple[str, ...] = ()
    customer_id: str | None = None

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

    def fact(self, posting: Posting) -> Fact:
        """What the posting means for these accounts."""
        own = self.by_record[posting.record_id].account_id
        order = None if posting.kind == "redeem" else posting.original_order_id or posting.order_id
        scope = tuple(self.by_number[number] for number in self.scope(posting))
        return Fact(posting.transaction_id, posting.key, own, posting.amount, posting.occurred_at, order, scope, posting.expires_at, posting.reverses)  # fmt: skip

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


def post(store: psycopg.Connection, postings: Iterable[Posting], programme: Programme, now: datetime) -> int:
    """Post facts inside the caller's transaction. Facts always post, into deficit if need be.

    Returns:
        How many legs were written (none for facts that were posted before).
    """
    todo = list(postings)
    wide = {posting.record_id for posting in todo if posting.across}
    groups = locked(store, sorted({posting.record_id for posting in todo}), programme, now, wide)
    for posting in todo:
        groups[posting.record_id].todo.append(posting)
    return write(store, list({id(group): group for group in groups.values()}.values()), programme, now)


def locked(
    store: psycopg.Connection, records: list[str], programme: Programme, now: datetime, wide: Collection[str] = ()
) -> dict[str, Group]:
    """The accounts of these records' customers, locked customer by customer in id order, opened where missing.

    For the records in `wide` the accounts of all their customer's records are opened: what a debit may draw from does
    not depend on which of them has earned yet.
    """
    if not records:
        return {}
    named, found = (programme.programme, programme.unit), dict[str, Group]()
    for item in ledger.lock(store, records, *named):
        group = Group(item.accounts, records=tuple(item.records), customer_id=item.customer_id)
        found |= dict.fromkeys(item.records, group)
    every = {*records, *(member for record in wide for member in found[record].records)}
    missing = sorted(record for record in every if record not in found[record].by_record)
    if missing:
        wanted = [(account_id(record, programme), record, *named) for record in missing]
        for account in ledger.open_accounts(store, wanted, now):
            found[account.record_id].add(account)
    return {record: found[record] for record in records}


def write(
    store: psycopg.Connection, groups: list[Group], programme: Programme, now: datetime, *, new: bool = False
) -> int:
    """Post what is to be posted to locked groups; returns how many legs that were. `new`: none of it was posted before."""
    asked = [] if new else [posting.transaction_id for group in groups for posting in group.todo]
    done = load(store, groups, asked)
    for group in groups:
        fresh = {p.transaction_id: p for p in group.todo if p.transaction_id not in done and p.amount}
        group.todo = sorted(fresh.values(), key=lambda p: group.fact(p).position)
    groups = [group for group in groups if group.todo]
    if not groups:
        return 0
    debits = {p.key for g in groups for p in g.todo if p.amount < 0 and not p.key.startswith(FRESH)}
    awaited = books.awaited(store, sorted(debits)) if debits else set[str]()
    quick = [group for group in groups if not group.is_late(awaited)]
    due = [g for g in quick if g.open and any(t.expires_at and t.expires_at <= now for t in g.open.lots.values())]
    rows = _append(store, [g for g in quick if g not in due], programme, now)
    return rows + rederive(store, [g for g in groups if g not in quick or g in due], programme, now)


def rederive(store: psycopg.Connection, groups: list[Group], programme: Programme, now: datetime) -> int:
    """Derive the groups from all their facts and post what their legs should be and are not; returns how many legs."""
    every = [account.account_id for group in groups for account in group.accounts]
    by_account: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in books.legs(store, every) if every else []:
        by_account[row["account_id"]].append(row)
    written: list[Leg] = []
    whole, times = State(), dict[str, datetime]()
    for group in groups:
        rows = [row for account in group.accounts for row in by_account[account.account_id]]
        facts = books.facts(rows, group.by_number) + [group.fact(posting) for posting in group.todo]
        ended = [row["occurred_at"] for row in rows if row["contra"] == "expired"]  # what was written off stays so
        state = derive(facts, max([now, *ended]))
        times |= {fact.fact_id: fact.at for fact in facts}
        written += _differences(group, rows, state, programme)
        group.open = state
        for name in ("lots", "allocations", "deficits"):
            getattr(whole, name).update(getattr(state, name))
    ledger.insert(store, written, now)
    if every:
        ledger.rewrite(store, every, whole, times)
    _stand(groups, written)
    return len(written)


def _stand(groups: list[Group], written: list[Leg]) -> None:
    """The groups as they are after these legs."""
    moved: dict[str, int] = defaultdict(int)
    for leg in written:
        moved[leg.account_id] += leg.amount
    for group in groups:
        group.accounts = [
            replace(a, version=a.version + 1, balance=a.balance + moved[a.account_id]) if a.account_id in moved else a
            for a in group.accounts
        ]


def load(store: psycopg.Connection, groups: list[Group], asked: list[str]) -> set[str]:
    """Open lots and deficits of groups that have none at hand yet; returns which of these transactions were posted."""
    missing = [group for group in groups if group.open is None]
    home = {account.account_id: group for group in missing for account in group.accounts}
    used = [account.account_id for group in missing for account in group.accounts if account.last_at]
    found, posted, _ = ledger.open_state(store, used, asked) if used or asked else (State(), set(), 0)
    for group in missing:
        group.open = State()
    for lot in found.lots.values():
        _state(home[lot.account]).lots[lot.lot_id] = lot
    for key, owed in found.deficits.items():
        _state(home[key[1]]).deficits[key] = owed
    return posted


def _state(group: Group) -> State:
    group.open = group.open or State()
    return group.open


def _append(store: psycopg.Connection, groups: list[Group], programme: Programme, now: datetime) -> int:
    """Facts later than all others: only what they touch is written."""
    rows: list[Leg] = []
    lots: list[Lot] = []
    drawn: list[Lot] = []
    allocations: dict[tuple[str, str], int] = {}
    fresh, smaller = dict[tuple[str, str], int](), dict[tuple[str, str], int]()
    paid, times = list[tuple[str, str]](), dict[str, datetime]()
    for group in groups:
        state = _state(group)
        state.until = now
        remaining, owed = {t.lot_id: t.remaining for t in state.lots.values()}, dict(state.deficits)
        for posting in group.todo:
            state.apply(group.fact(posting))
            times[posting.transaction_id] = posting.occurred_at
        state.expire(now)
        rows += _differences(group, [], state, programme)
        lots += [t for t in state.lots.values() if t.lot_id not in remaining]
        drawn += [t for t in state.lots.values() if t.remaining != remaining.get(t.lot_id, t.remaining)]
        allocations |= state.allocations
        fresh |= {key: n for key, n in state.deficits.items() if key not in owed}
        smaller |= {key: n for key, n in state.deficits.items() if owed.get(key, n) != n}
        paid += [key for key in owed if key not in state.deficits]
    with store.pipeline():
        ledger.insert(store, rows, now)
        ledger.add(store, lots, allocations, fresh, times)
        ledger.change(store, drawn, smaller, paid)
    _stand(groups, rows)
    return len(rows)


def _differences(group: Group, rows: list[dict[str, Any]], state: State, programme: Programme) -> list[Leg]:
    """Legs that are not as they should be are reversed and posted anew."""
    posted: dict[tuple[str, str], int] = defaultdict(int)
    count: dict[tuple[str, str], int] = defaultdict(int)
    stored: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = row["transaction_id"], row["account_id"]
        posted[key] += row["amount"]
        count[key] += 1
        stored.setdefault(row["transaction_id"], row)
    fresh = {posting.transaction_id: posting for posting in group.todo}
    made = []
    for key in sorted({*posted, *state.legs}):
        wanted, held = state.legs.get(key, 0), posted[key]
        if wanted == held:
            continue
        about = _about(key, group, fresh, stored, state, programme)
        for kind, amount in (("reversal", -held), (str(about["kind"]), wanted)):
            if amount:
                entry = str(uuid.uuid5(NAMESPACE, f"{key[0]}#{key[1]}#{count[key]}"))
                count[key] += 1
                made.append(Leg(entry, *key, amount=amount, **about | {"kind": kind}))
    return made


def _about(
    key: tuple[str, str], group: Group, fresh: dict[str, Posting], stored: dict[str, dict[str, Any]], state: State, programme: Programme
) -> dict[str, Any]:  # fmt: skip
    """What a leg says besides its amount: as its transaction was posted, is posted now, or as its lot expired."""
    transaction, account = key
    if posting := fresh.get(transaction):
        return {
            "kind": posting.kind, "occurred_at": posting.occurred_at, "key": posting.key, "revision": posting.revision,
            "reason": posting.reason, "actor": posting.actor, "version": programme.version, "order_id": posting.order_id,
            "original_order_id": posting.original_order_id, "scope": group.scope(posting), "reverses": posting.reverses,
            "expires_at": posting.expires_at, "contra": posting.contra or ledger.CONTRA[posting.kind],
        }  # fmt: skip
    if row := stored.get(transaction):
        same = (
            "occurred_at",
            "revision",
            "reason",
            "actor",
            "order_id",
            "original_order_id",
            "scope",
            "reverses",
            "expires_at",
            "contra",
        )
        return {
            **{name: row[name] for name in same},
            "kind": row["kind"],
            "key": row["posting_key"],
            "version": row["programme_version"],
        }
    lot = state.expired[transaction]
    number = next(a.number for a in group.accounts if a.account_id == account)
    return {
        "kind": "expire", "occurred_at": lot.ends_at, "key": f"expire|{lot.lot_id}", "revision": 0, "reason": "expired", "actor": "clock",
        "version": programme.version, "scope": (number,), "contra": "expired",
    }  # fmt: skip
