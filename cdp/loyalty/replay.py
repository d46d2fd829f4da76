"""What if: past orders and events under another programme, in memory; the same programme gives the ledger as it is.

Everything that did not follow from an order (a redemption by a channel, a correction, an opening balance) happened and stays.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from cdp.lake import register
from cdp.lake.engine import Lake
from cdp.loyalty import orders, targets
from cdp.loyalty.groups import Group, Posting, account_id
from cdp.loyalty.ladder import climb
from cdp.loyalty.lots import State, derive
from cdp.loyalty.posting import moving, qualifying
from cdp.loyalty.programme import Programme
from cdp.store import books, ledger
from cdp.store.ledger import Account

PEOPLE = """
    select c.customer_id, list(c.record_id order by c.record_id) as records from core__record_customers c
    join core__customers k on k.customer_id = c.customer_id
    where k.kind = 'known' and hash(c.customer_id) % $parts = $part group by c.customer_id order by c.customer_id
"""
OWN = ("earn", "clawback", "restore")  # what follows from orders and events alone


@dataclass
class Outcome:
    """One unit under one programme, over all customers.

    Attributes:
        moved: By kind: what was earned, taken back, spent, given back, ended.
        outstanding: Open units.
        owed: Deficits.
        liability: What the open units are expected to cost: units × cost × redemption rate.
        cost: What the units spent so far cost.
    """

    unit: str
    moved: Counter[str] = field(default_factory=Counter)
    outstanding: int = 0
    owed: int = 0
    liability: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)


@dataclass
class Replay:
    """A programme over the past: its units, and how many customers hold which level now."""

    units: dict[str, Outcome]
    levels: Counter[str]
    customers: int = 0


@dataclass
class Person:
    """One customer under the programme: the state of each unit, what was posted in each, what kind each fact was, and when."""

    records: list[str]
    states: dict[str, State] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)


Log = Callable[[str], None]


def silent(_: str) -> None:
    """Nobody is told."""


def replay(
    lake: Lake, store: psycopg.Connection, programme: Programme, present: Programme, now: datetime, log: Log = silent
) -> Replay:
    """The past under a programme.

    Args:
        lake: Orders, events, who is who.
        store: The ledger as it is.
        programme: What is asked about.
        present: The programme that the ledger was posted under.
        now: Units that end by then have ended.
        log: Told the progress.
    """
    found = Replay({unit.code: Outcome(unit.code) for unit in programme.units}, Counter())
    for person in people(lake, store, programme, present, now, log):
        found.customers += 1
        for unit, state in person.states.items():
            _count(found.units[unit], state, person.kinds, programme.of(unit))
        if programme.ladder is not None:
            counted = person.rows.get(programme.measured, [])
            found.levels[climb(qualifying(counted), programme, programme.ladder, now).level.code] += 1
    return found


def people(
    lake: Lake, store: psycopg.Connection, programme: Programme, present: Programme, now: datetime, log: Log = silent
) -> Iterator[Person]:
    """Every known customer under the programme."""
    register.require(lake, targets.INPUTS)
    same = programme.fingerprint == present.fingerprint
    parts, done = targets.parts_of(lake), 0
    for part in range(parts):
        made = _wanted(lake, store, programme, same, part, parts)
        for _, records in lake.rows(PEOPLE, {"part": part, "parts": parts}):
            yield _person(store, sorted(records), made, programme, present, now)
            done += 1
            if done % 5000 == 0:
                log(f"{done:,} customers replayed")


def _wanted(
    lake: Lake, store: psycopg.Connection, programme: Programme, same: bool, part: int, parts: int
) -> dict[str, list[Posting]]:
    """What orders and events post under the programme, by record; opening balances are taken from the ledger."""
    found: dict[str, list[Posting]] = defaultdict(list)
    for values in targets.of_part(lake, programme, part, parts, store, bound=same):
        row = dict(zip(orders.COLUMNS, values, strict=True))
        if row["record_id"] is not None and row["amount"]:
            found[str(row["record_id"])].append(
                orders.posting({**row, "revision": 0, "difference": row["amount"]}, programme)
            )
    return found


def _person(
    store: psycopg.Connection, records: list[str], made: dict[str, list[Posting]], programme: Programme, present: Programme, now: datetime
) -> Person:  # fmt: skip
    found, mine = Person(records), [posting for record in records for posting in made.get(record, [])]
    for unit in sorted(programme.units, key=lambda unit: not programme.of(unit.code).follows):
        seen = programme.of(unit.code)
        accounts = [Account(account_id(r, seen), number, r, 0, 0, None) for number, r in enumerate(records)]
        group = Group(accounts, [posting for posting in mine if posting.unit == unit.code], records=tuple(records))
        found.rows[unit.code] = [vars(p) | {"contra": p.contra or ledger.CONTRA[p.kind]} for p in group.todo]
        facts = [group.fact(posting) for posting in group.todo]
        others = _others(store, records, seen, present, {fact.key for fact in facts})
        found.rows[unit.code] += [row for row in others if row["contra"] == "issued"]
        facts += books.facts(others, {account.number: account.account_id for account in accounts})
        found.kinds |= {
            fact.fact_id: next((kind for kind in ledger.CONTRA if kind in fact.says), "adjust") for fact in facts
        }
        found.times |= {fact.fact_id: fact.at for fact in facts}
        counted = found.rows.get(programme.measured, [])
        found.states[unit.code] = derive(facts, now, moving(store, group, [], seen, counted))
    return found


def _others(
    store: psycopg.Connection, records: list[str], programme: Programme, present: Programme, known: set[str]
) -> list[dict[str, Any]]:
    """Legs of the ledger that did not follow from orders, as the other programme would have them."""
    if all(unit.code != programme.unit for unit in present.units):
        return []
    seen = present.of(programme.unit)
    held = books.of_records(store, records, seen.programme, seen.unit)
    if not held:
        return []
    place = {record: number for number, record in enumerate(records)}
    number = {account.number: place[account.record_id] for account in held}
    there = {account.account_id: account_id(account.record_id, programme) for account in held}
    rows = [
        {
            **row, "account_id": there[row["account_id"]], "posting_key": _renamed(row["posting_key"], seen, programme),
            "reverses": _renamed(row["reverses"], seen, programme) or None,
            "scope": [number.get(n, -1 - n) for n in row["scope"]] if row["scope"] is not None else None,
        }
        for row in books.legs(store, [account.account_id for account in held])
        if row["contra"] != "expired"
    ]  # fmt: skip
    own = {row["posting_key"] for row in rows if row["kind"] in OWN and row["posting_key"].startswith(programme.prefix)}
    return [row for row in rows if row["posting_key"] not in known | own]


def _renamed(key: str | None, present: Programme, other: Programme) -> str:
    return other.prefix + key[len(present.prefix) :] if key and key.startswith(present.prefix) else key or ""


def _count(outcome: Outcome, state: State, kinds: dict[str, str], programme: Programme) -> None:
    for (transaction, _), amount in state.legs.items():
        outcome.moved["expire" if transaction in state.expired else kinds[transaction]] += amount
    outcome.outstanding += sum(lot.remaining for lot in state.lots.values())
    outcome.owed += sum(state.deficits.values())
    terms, whole = programme.terms, Decimal(10) ** programme.terms.scale
    outcome.liability = Decimal(outcome.outstanding) / whole * terms.cost * terms.redemption_rate
    outcome.cost = -Decimal(outcome.moved["redeem"] + outcome.moved["restore"]) / whole * terms.cost
