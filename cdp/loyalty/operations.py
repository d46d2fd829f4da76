"""What a channel or an agent does to points: spend, set aside, reverse, correct. Each in the caller's transaction.

A preview is the same code in a transaction that is rolled back: what it shows is what posting does.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

from cdp.errors import CdpError, Conflict, NotFound
from cdp.loyalty import guards
from cdp.loyalty.expiry import first_end, schedule
from cdp.loyalty.groups import Group, Posting, locked, pooled
from cdp.loyalty.lots import NAMESPACE, State
from cdp.loyalty.orders import sale
from cdp.loyalty.posting import derived, write
from cdp.loyalty.programme import Programme
from cdp.loyalty.recall import recall
from cdp.loyalty.rules import Line
from cdp.store import assignment, books, changes, ledger
from cdp.store.cards import Card

SKEW = timedelta(minutes=10)  # how far apart clocks of hosts and tills may be


class Insufficient(CdpError):
    """More than is available."""

    status_code = 409
    title = "Insufficient points"


class Refused(Conflict):
    """What is asked contradicts what stands."""


@dataclass(frozen=True)
class Act:
    """On whose behalf, when, and why."""

    programme: Programme
    actor: str
    now: datetime
    reason: str


@dataclass(frozen=True)
class Standing:
    """What a customer's accounts come to at a moment.

    Attributes:
        balance: Σ open lots − Σ deficits; what has ended by now does not count.
        held: Set aside.
        available: What may be spent: the balance less what is set aside, never below nothing.
        changes: Of each account ever used: (number, how often it changed).
    """

    balance: int
    held: int
    available: int
    changes: tuple[tuple[int, int], ...] = ()

    @property
    def version(self) -> str:
        """Grows with every change of the accounts; another one after a merge or split."""
        if not self.changes:
            return "0"
        text = "|".join(f"{number}.{times}" for number, times in sorted(self.changes))
        return f"{sum(times for _, times in self.changes)}-{uuid.uuid5(NAMESPACE, text).hex[:8]}"


@dataclass(frozen=True)
class Receipt:
    """What an operation did, and how the customer stands after it.

    Attributes:
        amount: Moved in the unit that the programme is looked at through.
        units: Of a sale: what it earned in each unit.
    """

    transaction_id: str
    amount: int
    standing: Standing
    legs: dict[str, int]
    units: dict[str, int] = field(default_factory=dict)


def standing(store: psycopg.Connection, group: Group, act: Act) -> Standing:
    """How a group stands."""
    return _look(store, group, act)[0]


def _look(store: psycopg.Connection, group: Group, act: Act, transaction: str | None = None) -> tuple[Standing, bool]:
    """How a group stands, and whether a transaction was posted before; one query for both, or none where it was just locked."""
    if group.open is not None and group.held is not None and (transaction is None or transaction in group.asked):
        if act.programme.moves_ends:
            group.open, group.whole = derived(store, group, act.programme, act.now), True
        return _standing(group, group.held, act), group.asked.get(transaction or "", False)
    holder = {
        "records": list(group.records),
        "programme": act.programme.programme,
        "unit": act.programme.unit,
        "now": act.now,
    }
    accounts = [account.account_id for account in group.accounts]
    group.open, posted, held = ledger.open_state(store, accounts, [transaction] if transaction else None, holder)
    if act.programme.moves_ends:
        group.open = derived(store, group, act.programme, act.now)
    group.whole = True
    return _standing(group, held, act), bool(posted)


def _standing(group: Group, held: int, act: Act) -> Standing:
    assert group.open is not None
    lots = group.open.lots.values()
    if not group.whole:
        ended = sum(t.remaining for t in lots if t.ends_at <= act.now)
        return from_snapshots([(a.number, a.version, a.balance) for a in group.accounts], ended, held)
    balance = sum(t.remaining for t in lots if t.ends_at > act.now) - sum(group.open.deficits.values())
    return _stands(balance, held, [(a.number, a.version) for a in group.accounts])


def _stands(balance: int, held: int, changes: Iterable[tuple[int, int]]) -> Standing:
    return Standing(balance, held, max(0, balance - held), tuple((no, times) for no, times in changes if times))


def from_snapshots(accounts: Iterable[tuple[int, int, int]], ended: int, held: int) -> Standing:
    """How a customer stands by the (number, version, balance) of its accounts: Σ open lots − Σ deficits is their balance.

    Args:
        accounts: All of them.
        ended: What is left of lots that have ended and are not written off yet.
        held: Set aside.
    """
    known = list(accounts)
    return _stands(sum(one for _, _, one in known) - ended, held, [(no, times) for no, times, _ in known])


def read(store: psycopg.Connection, customer: str, act: Act) -> tuple[Group, Standing]:
    """A customer's accounts and how they stand, without a lock."""
    records = assignment.records(store, [customer])
    records = pooled(store, records, act.programme) or records
    if not act.programme.units:
        return Group([], open=State(), records=tuple(records)), Standing(0, 0, 0)
    accounts = books.of_records(store, records, act.programme.programme, act.programme.unit)
    group = Group(accounts, records=tuple(records))
    return group, standing(store, group, act)


def told_by_snapshots(programme: Programme) -> bool:
    """Whether a customer's snapshots alone tell its points: not where ends move or units are shared."""
    return bool(programme.units) and not programme.moves_ends and programme.household.mode != "pool_units"


def from_card(card: Card) -> Standing:
    """What `read` finds, of a customer whose card was read, where snapshots tell it."""
    return from_snapshots(card.accounts or (), card.ended, card.set_aside)


def ending(group: Group, now: datetime) -> list[tuple[datetime | None, int]]:
    """When open points end: (when, how many), what does not end last. Less what is owed they sum to the balance."""
    assert group.open is not None
    return schedule(group.open.lots.values(), now)


def redeem(
    store: psycopg.Connection, record: str, amount: int, act: Act, transaction: str, order_id: str | None = None, key: str | None = None
) -> Receipt:  # fmt: skip
    """Spend points of the record's customer; never more than is available. `key`: of a reward that they pay for.

    Raises:
        Insufficient: If less is available; nothing is changed.
    """
    # under the order's own key the pipeline knows it: its file is not charged again, its return gives back what was spent here
    spendable(act)
    key = key or (act.programme.key(order_id, "redeem") if order_id else f"redeem|{transaction}")
    posting = Posting(
        key, 0, record, "redeem", -amount, act.now, act.reason, order_id, across=True, actor=act.actor,
        transaction=transaction,
    )  # fmt: skip
    return post_one(store, posting, act, needed=amount, guarded=True)


def earn(store: psycopg.Connection, order: dict[str, Any], lines: list[Line], act: Act) -> tuple[Receipt, str | None]:
    """A sale earns at once, and spends the points it was paid with: by the pipeline's rule and keys, so the next run adds nothing.

    Args:
        store: In a transaction.
        order: `order_id` (source and number), `record_id`, `ordered_at`, `currency`, `points_redeemed`, `is_member`.
        lines: What was bought.
        act: On whose behalf.

    Returns:
        What was posted now (nothing for a sale that was known), and why it earned nothing, if so.
    """
    row = {"kind": "sale", "original_order_id": None, "original_key": None, **order}
    programme, record = act.programme, order["record_id"]
    if not programme.units:
        return Receipt("", 0, Standing(0, 0, 0), {}), sale(row, lines, programme)[1]
    store.execute(
        "select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"order|{order['order_id']}"]
    )  # whoever buys it
    group = locked(store, [record], programme, act.now, [record])[record]
    made, reason = sale(row, lines, programme, recall(store, record, group.own(record), programme))
    known = books.known_keys(store, [posting.key for posting in made])
    fresh = [replace(posting, actor=act.actor) for posting in made if posting.key not in known]
    if fresh:
        spent = sum(-posting.amount for posting in fresh if posting.kind == "redeem")
        if spent:
            guards.spending(
                store,
                [account.account_id for account in group.accounts],
                list(group.records),
                spent,
                programme,
                act.now,
            )
        guards.earning(store, [account.account_id for account in group.accounts], programme, act.now)
    units, written = dict[str, int](), 0
    for unit in sorted(programme.units, key=lambda unit: not programme.of(unit.code).follows):
        seen = replace(act, programme=programme.of(unit.code))
        mine = (
            group if unit.code == programme.unit else locked(store, [record], seen.programme, act.now, [record])[record]
        )
        mine.todo = [posting for posting in fresh if posting.unit == unit.code]
        units[unit.code] = sum(posting.amount for posting in mine.todo)
        if wanted := sum(-posting.amount for posting in mine.todo if posting.kind == "redeem"):
            needs(standing(store, mine, seen), wanted)
        written += write(store, [mine], seen.programme, act.now) if mine.todo else 0
    if written:
        tell(store, group, act)
    name = made[0].transaction_id if made else ""
    return Receipt(name, units[programme.unit], standing(store, group, act), {}, units), reason


def adjust(store: psycopg.Connection, record: str, amount: int, act: Act, transaction: str) -> Receipt:
    """Correct a balance: a credit to the record's account, or a debit of what is available."""
    ends = first_end(act.programme, act.now) if amount > 0 else None
    posting = Posting(
        f"adjust|{transaction}", 0, record, "adjust", amount, act.now, act.reason, across=amount < 0, actor=act.actor, transaction=transaction,
        expires_at=ends,
    )  # fmt: skip
    return post_one(store, posting, act, needed=max(0, -amount))


def spendable(act: Act) -> None:
    """Refuse a unit that only counts.

    Raises:
        Refused: If it cannot be spent.
    """
    if act.programme.units and not act.programme.terms.redeemable:
        raise Refused(f"{act.programme.unit} cannot be spent")


def reverse(store: psycopg.Connection, transaction: str, act: Act, *, of_grant: bool = False) -> Receipt:
    """Take a transaction back whole: what was spent returns to its lots, what was given is taken again, into deficit if need be.

    Raises:
        NotFound: If there is none of this id.
        Refused: If it was reversed before, follows from others (an expiry), or is a reversal itself.
    """
    about = books.transaction(store, transaction)
    if about is None:
        raise NotFound("no transaction has this id")
    if about["contra"] == "expired" or about["is_reversal"]:
        raise Refused("an expiry or a reversal cannot be reversed", "adjust the balance instead")
    if about["posting_key"].startswith("reward|") and not of_grant:
        raise Refused("this paid for a reward", "undo the reward: units and stock come back together")
    of_order = about["posting_key"].startswith(act.programme.prefix)
    if of_order and (about["kind"] != "redeem" or about["actor"] == "pipeline"):
        raise Refused("this follows from an order", "send the corrected order or its return: the points follow")
    group = locked(store, [about["record_id"]], act.programme, act.now)[about["record_id"]]
    if set(about["legs"]) - {account.account_id for account in group.accounts}:
        raise Refused("this was drawn from customers who are apart now", "adjust the balance of each instead")
    name = str(uuid.uuid5(NAMESPACE, f"reverse#{transaction}"))
    if ledger.known(store, [name]):
        raise Refused("this transaction was reversed before")
    left = about["amount"] + (0 if of_order else books.reversed_so_far(store, about["posting_key"]))
    if not left or (left > 0) != (about["amount"] > 0):
        raise Refused("nothing of this transaction is left to reverse")
    key = about["posting_key"] if of_order else f"reverse|{transaction}"
    posting = Posting(
        key, 0, about["record_id"], "redeem" if of_order else "adjust", -left, act.now, act.reason, about["order_id"], actor=act.actor,
        reverses=about["posting_key"], transaction=name, contra=about["contra"],
    )  # fmt: skip
    return post_one(store, posting, act, needed=0)


def post_one(store: psycopg.Connection, posting: Posting, act: Act, needed: int, *, guarded: bool = False) -> Receipt:
    """Post one fact; the same fact again answers what it did then."""
    wide = {posting.record_id} if posting.across else ()
    name = posting.transaction_id
    group = locked(store, [posting.record_id], act.programme, act.now, wide, [name], posting.draws)[posting.record_id]
    before, posted = _look(store, group, act, posting.transaction_id)
    if not posted:
        if guarded:
            guards.spending(
                store, [a.account_id for a in group.accounts], list(group.records), needed, act.programme, act.now
            )
        if needed:
            needs(before, needed)
            # what is available is spent: not before what made it available, if another clock is a little ahead
            last = max((account.last_at for account in group.accounts if account.last_at), default=posting.occurred_at)
            if posting.occurred_at <= last < posting.occurred_at + SKEW:
                posting = replace(posting, occurred_at=last + timedelta(microseconds=1))
        group.todo = [posting]
        write(store, [group], act.programme, act.now, new=True, tell=True)
        assert group.open is not None
        legs = {a: n for (t, a), n in group.open.legs.items() if t == posting.transaction_id and n}
        return Receipt(posting.transaction_id, posting.amount, _standing(group, before.held, act), legs)
    done = books.transaction(store, posting.transaction_id)
    same = done is not None and (done["posting_key"], done["amount"]) == (posting.key, posting.amount)
    if done is None or not same or done["record_id"] not in group.records:
        raise Refused("this id was used for something else", "make a new id for every operation")
    return Receipt(posting.transaction_id, posting.amount, before, done["legs"])


def needs(found: Standing, amount: int) -> None:
    """Refuse what is more than available, and say how much that is.

    Raises:
        Insufficient: If it is more.
    """
    if found.available < amount:
        held = f", {found.held} of {found.balance} are set aside" if found.held else ""
        raise Insufficient(f"{found.available} are available, {amount} are needed{held}", "ask for less, or wait")


def tell_about(store: psycopg.Connection, record: str, kind: str, now: datetime) -> None:
    """The feed learns that something about a record's customer changed, in the transaction that changed it."""
    if (customer := assignment.customer(store, [record])) is not None:
        changes.add(store, [(kind, customer, {})], now)


def tell(store: psycopg.Connection, group: Group, act: Act) -> None:
    """The feed learns that a balance changed, in the transaction that changed it."""
    changes.add(store, [("balance.changed", name, {}) for name in sorted(set(group.customer_of.values()))], act.now)
