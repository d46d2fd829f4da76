"""What people do to identity: merge, split, decide on a pair, undo. Each is one transaction and one change set.

Nothing is copied: records change customer, profiles are computed again from the records, balances and consents follow the
assignment by themselves. So an undo restores ids and profiles exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

from cdp.errors import Conflict, Invalid, NotFound
from cdp.publish import preview
from cdp.store import assignment, decisions, review
from cdp.store.decisions import ordered

MOST_PAIRS = 20_000
MOST_KEPT = 1_000  # records of a side that are held together by word


class Refused(Invalid):
    """What is asked makes no sense as asked."""


@dataclass(frozen=True)
class Act:
    """Who does it, why, and when."""

    actor: str
    reason: str
    now: datetime


@dataclass
class Outcome:
    """What an act did.

    Attributes:
        changeset_id: To undo it by.
        customers: The customers concerned that live after it.
        moved: Records that changed customer.
        left: Records that had moved on meanwhile and were left where they are.
    """

    changeset_id: UUID
    customers: list[str]
    moved: int
    left: list[str] = field(default_factory=list)


def merge(store: psycopg.Connection, customers: list[str], act: Act) -> Outcome:
    """Make several customers one: the one with most records (the older of equals) keeps its id.

    Raises:
        Refused: If they are fewer than two.
        NotFound: If one does not live.
        Conflict: If a standing decision keeps them apart.
    """
    wanted = sorted(set(customers))
    if len(wanted) < 2:
        raise Refused("a merge takes at least two customers", "name two different living ids")
    with store.transaction():
        members = members_of(store, wanted)
        winner, moves = _joined(store, members)
        verdicts = [ordered(_anchor(members[winner]), _anchor(members[c]), "same") for c in wanted if c != winner]
        return carry_out(store, "merge", moves, verdicts, act, wanted)


def split(store: psycopg.Connection, customer: str, records: list[str], act: Act, new_id: Callable[[], str]) -> Outcome:
    """Take records out of a customer: they take back the retired id they last held, else get a new one.

    Raises:
        NotFound: If the customer does not live.
        Refused: If the records are not its own, or are all of them, or too many pairs would have to be kept apart.
    """
    with store.transaction():
        members = members_of(store, [customer])[customer]
        part = sorted(set(records))
        rest = [record for record in members if record not in set(part)]
        if strangers := set(part) - set(members):
            raise Refused(f"{len(strangers)} of the records are not this customer's", "read its records again")
        if not part or not rest:
            raise Refused("a split takes some of a customer's records, not all", "name those that are somebody else's")
        if len(part) * len(rest) > MOST_PAIRS:
            raise Refused(
                f"{len(part) * len(rest):,} pairs would have to be kept apart",
                f"split at most {MOST_PAIRS:,} pairs at once",
            )
        own = _retired_id(store, part) or new_id()
        verdicts = [ordered(a, b, "different") for a in part for b in rest]
        said = decisions.confirmed(store, members)
        kept = [ordered(*pair, "same") for side in (part, rest) for pair in _kept_with(side)]
        verdicts += [word for word in kept if (word.left_id, word.right_id) not in said]
        moves = [assignment.Move(record, own) for record in part]
        return carry_out(store, "split", moves, verdicts, act, [customer, own])


def decide(store: psycopg.Connection, left: str, right: str, verdict: str, weight: float | None, act: Act) -> Outcome:
    """A verdict on a pair of records: `same` merges their customers at once; the others hold from the next run on.

    Raises:
        NotFound: If a record is unknown.
        Conflict: If a standing decision keeps their customers apart.
    """
    if left == right:
        raise Refused("a pair takes two records")
    with store.transaction():
        concerned = _locked(store, [left, right])
        moves: list[assignment.Move] = []
        if verdict == "same" and len(concerned) == 2:
            _, moves = _joined(store, members_of(store, concerned))
        return carry_out(store, "review", moves, [ordered(left, right, verdict, weight)], act, concerned)


def _locked(store: psycopg.Connection, records: list[str]) -> list[str]:
    """The customers of these records, locked: looked up again until nobody has moved one while they were waited for."""
    while True:
        found = assignment.customers_of(store, records)
        if len(found) < len(records):
            raise NotFound("no contact record has this id")
        concerned = sorted(set(found.values()))
        assignment.lock(store, concerned)
        if assignment.customers_of(store, records) == found:
            return concerned


def undo(store: psycopg.Connection, changeset_id: UUID, act: Act) -> Outcome:
    """Take a change set back: its decisions are revoked, its records return to where they were.

    Raises:
        NotFound: If there is none of this id.
        Conflict: If it was undone before, or is itself an undo.
    """
    with store.transaction():
        done = decisions.changeset(store, changeset_id)
        if done is None:
            raise NotFound("no change set has this id")
        if done["undone_by"] is not None or done["kind"] == "undo":
            raise Conflict(
                "this change set was undone before" if done["undone_by"] else "an undo cannot be undone",
                "do it again instead",
            )
        at = assignment.customers_of(store, [m["record_id"] for m in done["moves"]])
        back = [m for m in done["moves"] if at.get(m["record_id"]) == m["to"]]
        left = sorted(m["record_id"] for m in done["moves"] if at.get(m["record_id"]) not in (m["to"], m["from"]))
        concerned = sorted({m[side] for m in done["moves"] for side in ("from", "to") if m[side]})
        moves = [assignment.Move(m["record_id"], m["from"]) for m in back]
        outcome = carry_out(store, "undo", moves, [], act, concerned, undoes=changeset_id)
        decisions.revoke(store, changeset_id, outcome.changeset_id)
        _carry_over(store, changeset_id, outcome.changeset_id, [move.record_id for move in moves], act)
        outcome.left = left
        return outcome


def carry_out(
    store: psycopg.Connection,
    kind: str,
    moves: list[assignment.Move],
    verdicts: list[decisions.Decision],
    act: Act,
    concerned: list[str],
    undoes: UUID | None = None,
) -> Outcome:
    """Note a change set, move its records and write the profiles concerned, in the caller's transaction."""
    changeset_id = uuid4()
    held = assignment.customers_of(store, [m.record_id for m in moves])
    rows: list[dict[str, Any]] = [
        {"record_id": m.record_id, "from": held.get(m.record_id), "to": m.customer_id} for m in moves
    ]
    decisions.add_changeset(store, changeset_id, kind, act.now, act.actor, act.reason, rows, undoes)
    decisions.add(store, changeset_id, verdicts, act.now, act.actor, act.reason)
    assignment.apply(store, moves, act.now, f"changeset {changeset_id}", kind)
    review.answered(store, concerned)
    if moves:
        preview.rewrite(store, concerned)
    living = store.execute(
        "select distinct customer_id::text from assignment where customer_id = any(%s::uuid[]) order by 1", [concerned]
    ).fetchall()
    return Outcome(changeset_id, [str(row[0]) for row in living], len(moves))


def members_of(store: psycopg.Connection, customers: list[str]) -> dict[str, list[str]]:
    """Records of each customer, sorted; the customers are locked in id order."""
    store.execute(
        "select 1 from customers where customer_id = any(%s::uuid[]) order by customer_id for update", [customers]
    )
    found: dict[str, list[str]] = {customer: [] for customer in customers}
    query = "select customer_id::text, record_id from assignment where customer_id = any(%s::uuid[]) order by record_id"
    for customer, record in store.execute(query, [customers]):
        found[customer].append(record)
    if any(not records for records in found.values()):
        raise NotFound("no living customer has this id")
    return found


def _joined(store: psycopg.Connection, members: dict[str, list[str]]) -> tuple[str, list[assignment.Move]]:
    """The customer that keeps its id (most records, the older of equals), and the moves that make all of them one."""
    _refuse_contradiction(store, members)
    winner = min(members, key=lambda customer: (-len(members[customer]), customer))
    return winner, [assignment.Move(r, winner) for customer, own in members.items() if customer != winner for r in own]


def _refuse_contradiction(store: psycopg.Connection, members: dict[str, list[str]]) -> None:
    """A standing 'different' across these customers must be undone before they can be one."""
    side = {record: customer for customer, records in members.items() for record in records}
    query = (
        f"select left_id, right_id, changeset_id from ({decisions.STANDING}) as s "  # noqa: S608 - a constant
        "where verdict = 'different' and left_id = any(%s) and right_id = any(%s)"
    )
    for left, right, changeset in store.execute(query, [list(side), list(side)]):
        if side[left] != side[right]:
            raise Conflict(
                f"change set {changeset} keeps these customers apart", f"undo it first: /v1/changesets/{changeset}/undo"
            )


def _anchor(side: list[str]) -> str:
    """The record that stands for a side: an account where it has one, never a correction where it has anything else."""
    return min(side, key=lambda record: (record.startswith("console:"), ":account:" not in record, record))


def _kept_with(side: list[str]) -> list[tuple[str, str]]:
    """The records of a side, each with the one that stands for it: what held them together may be on the other side now."""
    anchor = _anchor(side)
    others = sorted(
        (record for record in side if record != anchor), key=lambda record: (not record.startswith("console:"), record)
    )
    return [(record, anchor) for record in others[:MOST_KEPT]]


def _carry_over(store: psycopg.Connection, undone: UUID, undo: UUID, back: list[str], act: Act) -> None:
    """Have later merges hold what stays together, where their word was kept at a record that went back.

    Such a word passes to a record that was in that customer then and stays; it is still that merge's, and goes when it is undone.
    """
    query = (
        f"select left_id, right_id, changeset_id from ({decisions.STANDING}) as s "  # noqa: S608 - a constant
        "where verdict = 'same' and changeset_id <> %s and (left_id = any(%s)) <> (right_id = any(%s))"
    )
    for left, right, other in store.execute(query, [str(undone), back, back]).fetchall():
        gone, stays = (left, right) if left in back else (right, left)
        now = assignment.customers_of(store, [gone, stays])
        later = decisions.changeset(store, UUID(other))
        if now.get(gone) == now.get(stays) or stays not in now or later is None:
            continue
        moved = {move["record_id"] for move in later["moves"]}
        members = members_of(store, [now[stays]])[now[stays]]
        held = [record for record in members if (record in moved) != (stays in moved)]
        if held:
            decisions.replace(store, UUID(other), undo, (left, right), ordered(_anchor(held), stays, "same"), act.now)


def _retired_id(store: psycopg.Connection, part: list[str]) -> str | None:
    """The retired id that held most of these records, the latest of equals."""
    found = store.execute(
        "select h.previous_customer_id::text from assignment_history h join customers c on c.customer_id = h.previous_customer_id "
        "where h.record_id = any(%s) and c.retired_at is not null and c.erased_at is null "
        "group by 1 order by count(distinct h.record_id) desc, max(h.position) desc limit 1",
        [part],
    ).fetchone()
    return str(found[0]) if found else None
