"""Tills that are offline: what they may spend is signed before, what they did is settled after.

An allowance is a limit, not a reservation: two tills may have one for the same units. What a till did always posts, at the
time it happened; which of two spent what was not there follows from their times, whichever comes back first.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

from cdp.errors import CdpError
from cdp.loyalty.groups import Posting, locked
from cdp.loyalty.operations import SKEW, Act, Refused, spendable, standing, tell
from cdp.loyalty.posting import write
from cdp.loyalty.programme import Programme
from cdp.store import assignment, books, tills


class Forged(CdpError):
    """An allowance that was not given by us, or is not this till's."""

    status_code = 422
    title = "Allowance not recognised"


@dataclass(frozen=True)
class Spent:
    """What a till did while it was offline.

    Attributes:
        transaction_id: Made by the till before it sold: the same one again is the same.
        order_id: The sale it paid, so that its file is not charged again.
    """

    transaction_id: str
    allowance: str
    points: int
    at: datetime
    order_id: str | None = None


@dataclass(frozen=True)
class Settled:
    """What became of it, by all that is known now.

    Attributes:
        covered: What lay within the till's allowance; more than that is the till's own risk.
        owed: What was not there any more, because something that happened before had spent it.
        because: Transactions that happened before and left too little.
    """

    transaction_id: str
    status: str
    points: int
    covered: int
    owed: int
    because: list[str]
    explanation: str


def allow(
    store: psycopg.Connection, record: str, till: str, points: int, hours: int, act: Act, secret: str, name: str
) -> tuple[dict[str, Any], str]:
    """Give a till an allowance: not more than is available, nor than the programme's guards say.

    Returns:
        The allowance and its signed text; it names no person.

    Raises:
        Refused: If more is asked for.
    """
    limits = act.programme.guards
    group = locked(store, [record], act.programme, act.now)[record]
    if (known := tills.find(store, name)) is not None:
        if (known["record_id"], known["till"]) != (record, till):
            raise Refused("this id was used for something else", "make a new id for every allowance")
        return known, sign(known, secret)
    spendable(act)
    available = standing(store, group, act).available
    out = tills.outstanding(store, group.own(record), till, act.now)
    most = act.programme.parts(limits.offline_units) - out
    if points > min(available, most) or hours > limits.offline_hours:
        raise Refused(
            f"{available} are available; offline at most {max(0, most)} more for {limits.offline_hours} hours",
            "ask for less",
        )
    row = {
        "allowance_id": name, "record_id": record, "programme": act.programme.programme, "unit": act.programme.unit, "till": till, "amount": points,
        "granted_at": act.now, "expires_at": act.now + timedelta(hours=hours), "actor": act.actor,
    }  # fmt: skip
    tills.add(store, row)
    return row, sign(row, secret)


def sign(row: dict[str, Any], secret: str) -> str:
    """An allowance as a till keeps it: what it may do, and our signature (HMAC-SHA-256)."""
    said = {
        "id": str(row["allowance_id"]),
        "till": row["till"],
        "unit": row["unit"],
        "points": row["amount"],
        "until": row["expires_at"].isoformat(),
    }
    body = base64.urlsafe_b64encode(json.dumps(said, sort_keys=True).encode()).decode()
    return f"{body}.{_mac(body, secret)}"


def _mac(body: str, secret: str) -> str:
    return hmac.new(f"till|{secret}".encode(), body.encode(), hashlib.sha256).hexdigest()


def _read(text: str, till: str, secret: str) -> str:
    """The id in a signed allowance of this till."""
    body, _, mac = text.partition(".")
    if not hmac.compare_digest(mac.encode(), _mac(body, secret).encode()):
        raise Forged("this allowance was not given by us", "send the text as it was given")
    said = json.loads(base64.urlsafe_b64decode(body))
    if said["till"] != till:
        raise Forged(f"this allowance was given to another till than {till}")
    return str(said["id"])


def settle(store: psycopg.Connection, till: str, spent: list[Spent], act: Act, secret: str) -> list[Settled]:
    """Post what a till did while it was offline; the same again changes nothing and explains anew.

    What cannot be ours (a forged allowance, another till's, a time in the future, an id that stands for something else) is
    refused by itself, with the reason, and holds up nothing else.
    """
    outcomes, good = dict[int, Settled](), list[tuple[Spent, dict[str, Any]]]()
    seen: dict[str, Spent] = {}
    for number, one in enumerate(spent):
        try:
            if seen.setdefault(one.transaction_id, one) != one:
                raise Refused("this id was used for something else", "make a new id for every operation")
            good.append((one, _allowed(store, till, one, act, secret)))
        except (Forged, Refused) as error:
            outcomes[number] = Settled(one.transaction_id, "refused", one.points, 0, 0, [], error.message)
    for unit in sorted({row["unit"] for _, row in good}):
        _post(
            store,
            till,
            [(one, row) for one, row in good if row["unit"] == unit],
            replace(act, programme=act.programme.of(unit)),
        )
    return [outcomes.get(number) or explain(store, one.transaction_id) for number, one in enumerate(spent)]


def _post(store: psycopg.Connection, till: str, good: list[tuple[Spent, dict[str, Any]]], act: Act) -> None:
    """Post what is new, in order of time, under the lock of all that are concerned."""
    programme, records = act.programme, sorted({row["record_id"] for _, row in good})
    groups = locked(store, records, programme, act.now, records)
    for one, row in sorted(good, key=lambda pair: (pair[0].at, pair[0].transaction_id)):
        key = _key(programme, one)
        if tills.spend(store, one.transaction_id) is not None:
            continue
        tills.add_spend(store, {"transaction_id": one.transaction_id, "allowance_id": row["allowance_id"], "amount": one.points, "at": one.at, "received_at": act.now, "order_id": one.order_id})  # fmt: skip
        if one.order_id and books.known_keys(store, [key]):
            continue  # the order's file came first and has charged it
        posting = Posting(
            key, 0, row["record_id"], "redeem", -one.points, one.at, f"till {till}", one.order_id, across=True, actor=act.actor, transaction=one.transaction_id,
        )  # fmt: skip
        groups[row["record_id"]].todo.append(posting)
    for group in {id(group): group for group in groups.values()}.values():
        if group.todo:
            write(store, [group], programme, act.now)
            tell(store, group, act)


def _key(programme: Programme, one: Spent) -> str:
    return programme.key(one.order_id, "redeem") if one.order_id else f"redeem|{one.transaction_id}"


def _allowed(store: psycopg.Connection, till: str, one: Spent, act: Act, secret: str) -> dict[str, Any]:
    row = tills.find(store, _read(one.allowance, till, secret))
    if row is None or assignment.customer(store, [row["record_id"]]) is None:
        raise Forged("this allowance is of nobody any more")
    if one.at > act.now + SKEW:
        raise Refused("a sale in the future is not settled", "mend the till's clock")
    known = tills.spend(store, one.transaction_id)
    same = known is not None and (known["allowance_id"], known["amount"], known["order_id"]) == (
        row["allowance_id"],
        one.points,
        one.order_id,
    )
    if not same and (known is not None or books.transaction(store, one.transaction_id) is not None):
        raise Refused("this id was used for something else", "make a new id for every operation")
    key = _key(act.programme.of(row["unit"]), one)
    charged, revision = books.posted_under(store, key)
    if known is None and revision and charged != -one.points:
        raise Refused(f"this order was charged {-charged} before", "its file has come, or another till has sent it")
    return row


def explain(store: psycopg.Connection, transaction: str) -> Settled:
    """What became of something a till did offline, by all that is known now.

    Within its allowance counts what a till spent first, in order of time, before the allowance ended.
    """
    row = tills.spend(store, transaction)
    assert row is not None
    before = tills.before(store, row)
    left = max(0, row["allowed"] - before) if row["at"] < row["expires_at"] else 0
    covered = min(row["amount"], left)
    if books.transaction(store, transaction) is None:
        return Settled(
            transaction, "settled", row["amount"], covered, 0, [], "the order's file came first and has charged it"
        )
    owed, because = books.owed_by(store, transaction)
    said = ["within its allowance" if covered == row["amount"] else f"{row['amount'] - covered} beyond its allowance"]
    if owed:
        said.append(f"{owed} were not there any more: {len(because)} earlier debits had taken them")
    return Settled(transaction, "owed" if owed else "settled", row["amount"], covered, owed, because, "; ".join(said))
