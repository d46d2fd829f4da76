"""Effective consent: what may be done with a person's contact point or data, and which decision says so.

One pure function. Nothing is copied when records merge, so nothing has to be restored when they part: the
answer is recomputed from the decisions and the links of the moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cdp.consent.policy import Policy

GRANTED = "granted"
DENIALS = ("denied", "withdrawn", "expired")


@dataclass(frozen=True)
class Decision:
    """One recorded decision. `captured_at` is None where the source does not know when the person acted."""

    decision_id: str
    record_id: str
    subject_type: str
    subject: str
    purpose: str
    status: str
    captured_at: datetime | None
    received_at: datetime
    source: str = ""
    method: str = ""


@dataclass(frozen=True)
class Link:
    """How a record belongs to the customer: the weight of the link that joins it, and its own contact points."""

    record_id: str
    weight: float
    points: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Effective:
    """The answer: may it be done, why, and which decision decided."""

    purpose: str
    contact_point: str | None
    allowed: bool
    status: str
    basis: str
    reason: str
    decided_by: str | None
    conflict: bool
    conflicting: tuple[str, ...] = ()


def effective(
    decisions: Iterable[Decision],
    links: Iterable[Link],
    policy: Policy,
    now: datetime,
    purpose: str,
    contact_point: str | None = None,
) -> Effective:
    """Effective consent for one purpose of one customer.

    Within a contact point the latest captured decision wins, ties go to the restrictive one. A decision on the record
    counts as one on every point it reaches: a denial on all of the customer's, a grant on that record's own. For
    purposes that concern the person as a whole the most restrictive record wins. A missing value is never a
    grant; an undated grant ranks below any denial; a weak link carries denials, never grants.

    Args:
        decisions: All decisions of the customer's records and on its contact points, in any order.
        links: The customer's records.
        policy: Purposes and the weak-link weight.
        now: Decisions captured later are not yet in force.
        purpose: A purpose of the policy; an unknown one is never allowed.
        contact_point: The e-mail or phone to be used; required by purposes that have one.
    """
    if purpose not in policy.purposes:
        return _answer(purpose, contact_point, None, "unknown_purpose", ())
    records = {link.record_id: link for link in links}
    relevant = [
        d
        for d in decisions
        if d.purpose == purpose and _in_force(d, now) and _counts(d, records, policy.weak_link_weight)
    ]
    if policy.purposes[purpose].point is None:
        return _person_level(purpose, relevant)
    reaching = [d for d in relevant if _reaches(d, contact_point, records)]
    return _decide(purpose, contact_point, reaching, reaching)


def _person_level(purpose: str, relevant: list[Decision]) -> Effective:
    latest: dict[str, Decision] = {}
    for decision in sorted(relevant, key=_rank):
        latest[decision.record_id] = decision
    standing = list(latest.values())
    denials = [d for d in standing if d.status in DENIALS]
    return _decide(purpose, None, denials or standing, standing)


def _decide(purpose: str, point: str | None, candidates: list[Decision], heard: list[Decision]) -> Effective:
    ranked = sorted(candidates, key=_rank)
    winner = ranked[-1] if ranked else None
    if winner is None:
        return _answer(purpose, point, None, "never_asked", ())
    latest: dict[str, Decision] = {}
    for decision in sorted(heard, key=_rank):
        latest[decision.record_id] = decision
    against = tuple(
        sorted(d.decision_id for d in latest.values() if (d.status == GRANTED) != (winner.status == GRANTED))
    )
    return _answer(purpose, point, winner, f"{winner.status}_by_{winner.subject_type}", against)


def _answer(
    purpose: str, point: str | None, winner: Decision | None, reason: str, against: tuple[str, ...]
) -> Effective:
    status = winner.status if winner else "unknown"
    return Effective(
        purpose=purpose,
        contact_point=point,
        allowed=status == GRANTED,
        status=status,
        basis="consent" if status == GRANTED else "none",
        reason=reason,
        decided_by=winner.decision_id if winner else None,
        conflict=bool(against),
        conflicting=against,
    )


def _in_force(decision: Decision, now: datetime) -> bool:
    """Whether it speaks at all: a pending or missing answer decides nothing, and cancels nothing."""
    return decision.status not in ("pending", "unknown") and (decision.captured_at or decision.received_at) <= now


def _counts(decision: Decision, records: dict[str, Link], weak: float) -> bool:
    """A grant of a weakly linked record does not count; a denial always does."""
    link = records.get(decision.record_id)
    return decision.status in DENIALS or link is None or link.weight >= weak


def _reaches(decision: Decision, point: str | None, records: dict[str, Link]) -> bool:
    if decision.subject_type != "record":
        return decision.subject == point
    if decision.status in DENIALS:
        return True
    link = records.get(decision.record_id)
    return link is not None and point in link.points


def _rank(decision: Decision) -> tuple[bool, datetime, int, str]:
    """Order in which decisions speak; the last one wins.

    An undated grant speaks first, so that any denial and any dated grant is heard over it; at the same moment
    the restrictive one is heard last.
    """
    restrictive = {"unknown": 0, GRANTED: 1}.get(decision.status, 2)
    dated = decision.captured_at is not None or decision.status in DENIALS
    return dated, decision.captured_at or decision.received_at, restrictive, decision.decision_id
