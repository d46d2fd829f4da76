"""Post to the ledger: facts once each, under locks; their legs follow from the lots, and follow anew when a fact comes late."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg

from cdp.loyalty.expiry import Moving
from cdp.loyalty.groups import FRESH, Group, Posting, locked
from cdp.loyalty.ladder import FIRST, INSTANT, Item, climb
from cdp.loyalty.lots import NAMESPACE, Lot, State, derive
from cdp.loyalty.programme import Programme
from cdp.store import books, ledger
from cdp.store.consents import members_at
from cdp.store.ledger import Leg


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
    draws = [posting.draws for posting in todo]
    needed = None if None in draws else sum(n for n in draws if n is not None)
    groups = locked(store, sorted({posting.record_id for posting in todo}), programme, now, wide, asked, needed)
    for posting in todo:
        groups[posting.record_id].todo.append(posting)
    return write(store, list({id(group): group for group in groups.values()}.values()), programme, now)


def write(
    store: psycopg.Connection, groups: list[Group], programme: Programme, now: datetime, *, new: bool = False, tell: bool = False
) -> int:  # fmt: skip
    """Post what is to be posted to locked groups; returns how many legs that were.

    `new`: none of it was posted before. `tell`: the feed learns whose balance changed, with what changed it.
    """
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
    rows = _append(store, [g for g in quick if g not in due], programme, now, tell)
    rows += rederive(store, [g for g in groups if g not in quick or g in due], programme, now, tell)
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


def rederive(
    store: psycopg.Connection, groups: list[Group], programme: Programme, now: datetime, tell: bool = False
) -> int:
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
        group.open, group.whole = state, True
        for name in ("lots", "allocations", "deficits"):
            getattr(whole, name).update(getattr(state, name))
    if every:
        told = _customers(groups) if tell and written else []
        derived_rows = ledger.Rows(
            written, list(whole.lots.values()), whole.allocations, whole.deficits, times, told=told
        )
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
    if programme.ladder is None:
        return Moving(programme)
    unit, records = programme.measured, list(group.records or group.by_record)
    counted = rows if measured is None else measured
    if measured is None and unit != programme.unit:
        others = books.of_records(store, records, programme.programme, unit)
        counted = books.legs(store, [account.account_id for account in others]) if others else []
    fresh = [vars(posting) | {"contra": posting.contra or ledger.CONTRA[posting.kind]} for posting in group.todo] if measured is None and unit == programme.unit else []  # fmt: skip
    moved = _lost_by_moving(store, group, records, programme)
    off = {row["transaction_id"] for row in rows if row["contra"] == "expired" and row["occurred_at"] < moved.get(row["account_id"], FIRST)}  # fmt: skip
    return Moving(programme, qualifying([*counted, *fresh]), moved, frozenset(off))


def _lost_by_moving(
    store: psycopg.Connection, group: Group, records: list[str], programme: Programme
) -> dict[str, datetime]:
    """When accounts lost an exemption because customers were told apart or put together: what they held lives on for a while."""
    if not programme.exempts:
        return {}
    found, asked = dict[str, datetime](), dict[tuple[str, datetime], bool]()
    for record, (at, before) in books.moved(store, records).items():
        if record in group.by_record:
            if (before, at) not in asked:
                asked[before, at] = _was_exempt(store, before, at - INSTANT, programme)
            if asked[before, at]:
                found[group.by_record[record].account_id] = at
    return found


def _was_exempt(store: psycopg.Connection, customer: str, at: datetime, programme: Programme) -> bool:
    """Whether a customer, of the records it had then, held a level under which units end otherwise."""
    assert programme.ladder is not None
    unit = programme.measured
    accounts = books.of_records(store, members_at(store, customer, at), programme.programme, unit)
    rows = books.legs(store, [account.account_id for account in accounts]) if accounts else []
    held = climb(qualifying(rows), programme, programme.ladder, at).level.expiry.get(programme.unit)
    return held is not None and held.binding == "live"


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


def _customers(groups: list[Group]) -> list[str]:
    return sorted({customer for group in groups for customer in group.customer_of.values()})


def _append(store: psycopg.Connection, groups: list[Group], programme: Programme, now: datetime, tell: bool) -> int:
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
        told = _customers(groups) if tell else []
        ledger.write(store, ledger.Rows(rows, lots, allocations, fresh, times, drawn, smaller, paid, told), now)
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
