"""Post to the ledger: facts once each, under locks; their legs follow from the lots, and follow anew when a fact comes late."""

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import psycopg

from cdp.errors import Conflict
from cdp.loyalty.expiry import Moving
from cdp.loyalty.ladder import FIRST, Item
from cdp.loyalty.lots import NAMESPACE, Fact, Lot, State, derive
from cdp.loyalty.programme import Programme
from cdp.store import books, ledger, plans
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
    def says(self) -> frozenset[str]:
        """What it was: its kind, and the rules that gave it."""
        return frozenset({self.kind, *self.reason.split("+")})

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
        asked: Whether transactions were posted before, once read.
    """

    accounts: list[Account]
    todo: list[Posting] = field(default_factory=list)
    open: State | None = None

    records: tuple[str, ...] = ()
    customer_of: dict[str, str] = field(default_factory=dict)
    held: int | None = None
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


def post(store: psycopg.Connection, postings: Iterable[Posting], programme: Programme, now: datetime) -> int:
    """Post facts inside the caller's transaction. Facts always post, into deficit if need be.

    Returns:
        How many legs were written (none for facts that were posted before).
    """
    by_unit = defaultdict[str, list[Posting]](list)
    for posting in postings:
        by_unit[posting.unit or programme.unit].append(posting)
    return sum(_post(store, items, programme.of(unit), now) for unit, items in by_unit.items())


def _post(store: psycopg.Connection, todo: list[Posting], programme: Programme, now: datetime) -> int:
    wide = {posting.record_id for posting in todo if posting.across}
    asked = [posting.transaction_id for posting in todo]
    groups = locked(store, sorted({posting.record_id for posting in todo}), programme, now, wide, asked)
    for posting in todo:
        groups[posting.record_id].todo.append(posting)
    return write(store, list({id(group): group for group in groups.values()}.values()), programme, now)


def locked(
    store: psycopg.Connection,
    records: list[str],
    programme: Programme,
    now: datetime,
    wide: Collection[str] = (),
    asked: Sequence[str] = (),
) -> dict[str, Group]:
    """The accounts of these records' customers, locked customer by customer in id order, opened where missing.

    For the records in `wide` the accounts of all their customer's records are opened: what a debit may draw from does
    not depend on which of them has earned yet. Whether the transactions `asked` about were posted before is read too.
    """
    if not records:
        return {}
    if not programme.units:
        raise Conflict(
            "this programme counts no units",
            "its plans and benefits are under /loyalty/plans and /loyalty/entitlements",
        )
    named, found = (programme.programme, programme.unit), dict[str, Group]()
    for group in _grouped(store, records, programme, now, asked):
        found |= dict.fromkeys(group.records, group)
    every = {*records, *(member for record in wide for member in found[record].records)}
    missing = sorted(record for record in every if record not in found[record].by_record)
    if missing:
        wanted = [(account_id(record, programme), record, *named) for record in missing]
        for account in ledger.open_accounts(store, wanted, now):
            found[account.record_id].add(account)
    return {record: found[record] for record in records}


def _grouped(
    store: psycopg.Connection, records: list[str], programme: Programme, now: datetime, asked: Sequence[str]
) -> list[Group]:
    """The customers of these records, locked; those that share units are one group."""
    named = (programme.programme, programme.unit)
    if programme.household.mode != "pool_units":
        items, posted = ledger.lock(store, records, *named, now, asked)
        return [_of(item, posted, asked) for item in items]
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


def _of(item: ledger.Locked, posted: set[str], asked: Sequence[str]) -> Group:
    customer_of = {record: item.customer_id for record in item.records if item.customer_id is not None}
    group = Group(item.accounts, open=item.open, records=tuple(item.records), customer_of=customer_of)
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


def write(
    store: psycopg.Connection, groups: list[Group], programme: Programme, now: datetime, *, new: bool = False
) -> int:
    """Post what is to be posted to locked groups; returns how many legs that were. `new`: none of it was posted before."""
    named = set() if new else {posting.transaction_id for group in groups for posting in group.todo}
    known = {name: done for group in groups for name, done in group.asked.items()}
    done = load(store, groups, sorted(named - set(known))) | {name for name in named if known.get(name)}
    for group in groups:
        fresh = {p.transaction_id: p for p in group.todo if p.transaction_id not in done and p.amount}
        group.todo = sorted(fresh.values(), key=lambda p: group.fact(p).position)
    groups = [group for group in groups if group.todo]
    if not groups:
        return 0
    debits = {p.key for g in groups for p in g.todo if p.amount < 0 and not p.key.startswith(FRESH)}
    awaited = books.awaited(store, sorted(debits)) if debits else set[str]()
    quick = [group for group in groups if not (programme.moves_ends or group.is_late(awaited))]
    due = [g for g in quick if g.open and any(t.expires_at and t.expires_at <= now for t in g.open.lots.values())]
    rows = _append(store, [g for g in quick if g not in due], programme, now)
    rows += rederive(store, [g for g in groups if g not in quick or g in due], programme, now)
    for unit in programme.follows:  # a level may have changed: what ends with it is looked at in the same transaction
        rows += _follow(store, groups, programme.of(unit), now)
    return rows


def _follow(store: psycopg.Connection, groups: list[Group], programme: Programme, now: datetime) -> int:
    """Derive another unit of these customers again, whose ends follow the level."""
    records = sorted({record for group in groups for record in group.records or group.by_record})
    accounts = books.of_records(store, records, programme.programme, programme.unit)
    held = {record: number for number, group in enumerate(groups) for record in group.records or group.by_record}
    others = [Group([], records=group.records, customer_of=group.customer_of) for group in groups]
    for account in accounts:
        others[held[account.record_id]].add(account)
    return rederive(store, [group for group in others if group.accounts], programme, now)


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
        state = derive(facts, max([now, *ended]), moving(store, group, rows, programme))
        times |= {fact.fact_id: fact.at for fact in facts}
        written += _differences(group, rows, state, programme)
        group.open = state
        for name in ("lots", "allocations", "deficits"):
            getattr(whole, name).update(getattr(state, name))
    if every:
        derived_rows = ledger.Rows(written, list(whole.lots.values()), whole.allocations, whole.deficits, times)
        ledger.rewrite(store, every, derived_rows, now)
    _stand(groups, written)
    return len(written)


def moving(
    store: psycopg.Connection, group: Group, rows: list[dict[str, Any]], programme: Programme, measured: list[dict[str, Any]] | None = None
) -> Moving | None:  # fmt: skip
    """What moves the ends of a group's lots, if anything does.

    Args:
        store: Where.
        group: Its accounts, records and what is to be posted.
        rows: All legs of the accounts.
        programme: The rules, through the unit.
        measured: What counts for the ladder, where it is not what the ledger holds.
    """
    if not programme.moves_ends:
        return None
    if (ladder := programme.ladder) is None:
        return Moving(programme)
    unit, records = programme.measure(ladder).unit, list(group.records or group.by_record)
    counted = rows if measured is None else measured
    if measured is None and unit != programme.unit:
        others = books.of_records(store, records, programme.programme, unit)
        counted = books.legs(store, [account.account_id for account in others]) if others else []
    fresh = [vars(posting) | {"contra": posting.contra or ledger.CONTRA[posting.kind]} for posting in group.todo] if measured is None and unit == programme.unit else []  # fmt: skip
    moved = {group.by_record[r].account_id: at for r, at in books.moved(store, records).items() if r in group.by_record}
    off = {row["transaction_id"] for row in rows if row["contra"] == "expired" and row["occurred_at"] < moved.get(row["account_id"], FIRST)}  # fmt: skip
    return Moving(programme, qualifying([*counted, *fresh]), moved, frozenset(off))


def qualifying(rows: Iterable[Mapping[str, Any]]) -> list[Item]:
    """What counts for a ladder, of legs or postings: what was issued; what was taken back counts at its order's time."""
    issued = [row for row in rows if row["contra"] == "issued"]
    sold = {row["order_id"]: row["occurred_at"] for row in issued if row["kind"] == "earn" and row["order_id"]}
    return [Item(max(row["occurred_at"], at), at, row["amount"]) for row in issued for at in (sold.get(row["original_order_id"], row["occurred_at"]),)]  # fmt: skip


def derived(store: psycopg.Connection, group: Group, programme: Programme, now: datetime) -> State:
    """The state of a group now, from its facts: where time and levels move ends, what is stored may be behind."""
    accounts = [account.account_id for account in group.accounts]
    rows = books.legs(store, accounts) if accounts else []
    ended = [row["occurred_at"] for row in rows if row["contra"] == "expired"]
    return derive(books.facts(rows, group.by_number), max([now, *ended]), moving(store, group, rows, programme))


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
    if groups:
        ledger.write(store, ledger.Rows(rows, lots, allocations, fresh, times, drawn, smaller, paid), now)
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
            "reason": posting.reason, "actor": posting.actor, "version": programme.at(posting.occurred_at).version, "order_id": posting.order_id,
            "original_order_id": posting.original_order_id, "scope": group.scope(posting), "reverses": posting.reverses,
            "expires_at": posting.expires_at, "contra": posting.contra or ledger.CONTRA[posting.kind], "details": posting.details,
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
            "details",
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
        "version": programme.at(lot.ends_at).version, "scope": (number,), "contra": "expired",
    }  # fmt: skip
