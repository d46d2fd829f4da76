"""Referral: a code, a claim, and units for both once the invited person has bought. Nobody invites themselves."""

import secrets
import uuid
from collections import Counter
from datetime import datetime

import psycopg

from cdp.errors import NotFound
from cdp.loyalty.expiry import first_end
from cdp.loyalty.giving import Referral
from cdp.loyalty.groups import Posting
from cdp.loyalty.lots import NAMESPACE
from cdp.loyalty.offers import ALPHABET, typed
from cdp.loyalty.operations import Act, Refused, tell_about
from cdp.loyalty.posting import post
from cdp.loyalty.programme import Programme
from cdp.store import assignment, books, ledger, referrals

LENGTH = 10


class SelfReferral(Refused):
    """Whoever claims is, or may be, the one who invites."""

    title = "Self-referral"


def code(store: psycopg.Connection, record: str, act: Act) -> str:
    """The code of a record's customer: one for ever.

    Raises:
        Refused: If the programme rewards no referral.
    """
    _terms(act.programme)
    customer = _customer(store, record, act)
    for own in assignment.records(store, [customer]):
        if (known := referrals.code_of(store, own, act.programme.programme)) is not None:
            return known
    made = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    referrals.add_code(store, made, record, act.programme.programme, act.actor, act.now)
    return made


def claim(store: psycopg.Connection, record: str, text: str, act: Act, referral_id: str) -> str:
    """Say who invited a customer, before the first order.

    Returns:
        The claim's id; the same claim again gives the same one.

    Raises:
        NotFound: If nobody has this code.
        SelfReferral: If both are one customer, or the identity graph connects them.
        Refused: If the customer has bought or claimed before.
    """
    _terms(act.programme)
    found = referrals.owner(store, typed(text))
    if found is None or found["programme"] != act.programme.programme:
        raise NotFound("nobody has this code")
    customer = _customer(store, record, act)
    inviter = assignment.customer(store, [found["record_id"]])
    records = assignment.records(store, [customer])
    if known := referrals.of_referred(store, records):
        if known[0]["code"] == found["code"]:
            return str(known[0]["referral_id"])
        raise Refused("this customer was invited by somebody else before")
    if inviter is None or inviter == customer:
        raise SelfReferral("this is the customer's own code")
    if referrals.connected(store, customer, inviter) is not None:  # what connects them is not the caller's to know
        raise SelfReferral(
            "this customer cannot be invited by that one", "people who belong together do not refer each other"
        )
    if referrals.has_ordered(store, customer):
        raise Refused("this customer has bought before: a referral is for new ones")
    row = {
        "referral_id": referral_id,
        "code": found["code"],
        "referrer_record": found["record_id"],
        "referred_record": record,
    }
    if not referrals.add(store, {**row, "programme": act.programme.programme, "at": act.now, "actor": act.actor}):
        raise Refused("this record has claimed before, or this id was used", "make a new id for every claim")
    return referral_id


def settle(store: psycopg.Connection, programme: Programme, now: datetime) -> tuple[int, Counter[str]]:
    """Reward what has qualified, take back what no longer does; the same state again posts nothing.

    Returns:
        Entries written, and how many claims stand how: rewarded, waiting, connected, over_limit.
    """
    written, told, given, orders = 0, Counter[str](), Counter[tuple[str, int]](), set[str]()
    newest = programme.referral
    if newest is None:
        return 0, told
    for row in referrals.bought(store, programme.programme, programme.currency, newest.min_order):
        terms = programme.at(row["at"]).referral or newest
        seen = programme.of(terms.unit)
        state = _state(store, row, terms, given, orders, programme)
        told[state] += 1
        made = []
        for side, amount in (("referrer", terms.referrer), ("referred", terms.referred)):
            key = f"{programme.programme}|referral:{row['referral_id']}|{side}"
            posted, revision = books.posted_under(store, key)
            wanted = seen.parts(amount) if state == "rewarded" else 0
            if wanted != posted and (wanted or state in ("waiting", "connected", "counted_before")):
                at = row["ordered_at"] if not revision else now
                made.append(
                    Posting(
                        key, revision, row[f"{side}_record"], "earn" if not revision else "adjust", wanted - posted, at, "referral",
                        expires_at=first_end(seen.at(at), at) if wanted > posted else None, contra="issued", unit=terms.unit,
                        transaction=None if not revision else str(uuid.uuid5(NAMESPACE, f"{key}#{revision}")),
                    )
                )  # fmt: skip
        if made:
            with store.transaction():
                written += post(store, made, seen, now)
                for posting in made:
                    tell_about(store, posting.record_id, "balance.changed", now)
    return written, told


def _state(
    store: psycopg.Connection,
    row: dict[str, object],
    terms: Referral,
    given: Counter[tuple[str, int]],
    orders: set[str],
    programme: Programme,
) -> str:
    """How a claim stands; one that was rewarded before the two were found to be connected is taken back."""
    ordered = row["ordered_at"]
    if not isinstance(ordered, datetime) or row["net"] is None or row["net"] < terms.min_order:  # type: ignore[operator]
        return "waiting"
    if row["order_id"] in orders:  # two accounts that claimed each, and are one person now: one order, one reward
        return "counted_before"
    orders.add(str(row["order_id"]))
    one, other = str(row["referrer"]), str(row["referred"])
    if one == other or referrals.connected(store, one, other):
        return "connected"
    year = one, ordered.astimezone(programme.zone).year
    given[year] += 1
    return "rewarded" if given[year] <= terms.per_year else "over_limit"


def _terms(programme: Programme) -> Referral:
    if programme.referral is None:
        raise Refused("this programme rewards no referral", "set 'referral' in its YAML")
    return programme.referral


def _customer(store: psycopg.Connection, record: str, act: Act) -> str:
    """A record's customer, locked."""
    held = ledger.lock(store, [record], act.programme.programme, act.programme.unit)[0][0].customer_id
    if held is None:
        raise NotFound("this record belongs to nobody")
    return held
