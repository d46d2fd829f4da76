"""Effective consent: what may be done with a person's contact point or data, and which decision says so.

One pure function. Nothing is copied when records merge, so nothing has to be restored when they part: the
answer is recomputed from the decisions and the links of the moment. Its twin for whole lakes is
`cdp/sql/consent/core__customer_consents.sql`; a test holds the two equal.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from cdp.consent.policy import ABSOLUTE, Policy, Purpose

GRANTED = "granted"
DENIALS = ("denied", "withdrawn", "expired")


@dataclass(frozen=True)
class Decision:
    """One recorded decision. `captured_at` is None where the source does not know when the person acted.

    Attributes:
        basis: The lawful basis it names.
        expires_at: From then on a grant holds no longer.
        confirmed_at: When a double opt-in was confirmed.
        separate_consent: The kind of separate consent (PIPL art. 23 and others) it was asked for as, if any.
        explicit: False for what a form had filled in already.
    """

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
    basis: str = "consent"
    expires_at: datetime | None = None
    confirmed_at: datetime | None = None
    separate_consent: str | None = None
    explicit: bool = True

    @property
    def at(self) -> datetime:
        """When the person acted, as far as it is known."""
        return self.captured_at or self.received_at


@dataclass(frozen=True)
class Link:
    """How a record belongs to the customer: the weight of the link that joins it, its contact points and country."""

    record_id: str
    weight: float
    points: frozenset[str] = frozenset()
    country: str | None = None


@dataclass(frozen=True)
class Material:
    """What the consent function needs of one customer: decisions, links, contact points by type."""

    decisions: list[Decision]
    links: list[Link]
    points: dict[str, list[str]]

    @property
    def records(self) -> list[str]:
        """The customer's records."""
        return [link.record_id for link in self.links]


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
    jurisdiction: str = ""


@dataclass(frozen=True)
class _Voice:
    """What a decision says at this moment: `said` is its status, or `pending` for a grant that lacks something."""

    decision: Decision
    said: str
    lacks: str

    @property
    def rank(self) -> tuple[int, datetime, bool, str]:
        """Order in which voices speak; the last one wins. At the same moment the restrictive one is last.

        A grant without a date, or one that a form had filled in, speaks before any denial; a denial that a form had
        filled in speaks before all that people said themselves.
        """
        d = self.decision
        weak = d.status == GRANTED and (d.captured_at is None or not d.explicit)
        level = 0 if weak else 2 if d.explicit else 1
        return level, d.at, self.said in DENIALS, d.decision_id


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
    grant; an undated grant ranks below any denial; a weak link carries denials, never grants. A grant that has
    run out speaks as expired; one that lacks what the person's law asks for decides nothing. While the
    restriction purpose stands denied, nothing that rests on consent or silence is allowed.

    Args:
        decisions: All decisions of the customer's records and on its contact points, in any order.
        links: The customer's records.
        policy: Purposes, jurisdictions and the weak-link weight.
        now: Decisions captured later are not yet in force.
        purpose: A purpose of the policy; an unknown one is never allowed.
        contact_point: The e-mail or phone to be used; required by purposes that have one.
    """
    return Answers(decisions, links, policy, now).of(purpose, contact_point)


class Answers:
    """Effective consent of one customer at one moment, for any purpose: what all answers share is found once.

    Args:
        decisions: As for `effective`.
        links: As for `effective`.
        policy: As for `effective`.
        now: As for `effective`.
    """

    def __init__(self, decisions: Iterable[Decision], links: Iterable[Link], policy: Policy, now: datetime) -> None:
        self._policy, self._now = policy, now
        self._records = {link.record_id: link for link in links}
        self._law = policy.of_links(self._records.values())
        self._said: dict[str, list[Decision]] = defaultdict(list)
        for decision in dict.fromkeys(decisions):
            if decision.status != "unknown" and decision.at <= now:
                self._said[decision.purpose].append(decision)

    def of(self, purpose: str, point: str | None = None) -> Effective:
        """The answer for a purpose, and for a contact point where the purpose has one."""
        policy = self._policy
        if purpose not in policy.purposes:
            return Effective(purpose, point, False, "unknown", "none", "unknown_purpose", None, False, (), self._law)
        answer = self._answer(purpose, point)
        if purpose == policy.restriction or not policy.restriction or answer.basis in ABSOLUTE:
            return answer
        if self._gate.status not in DENIALS:
            return answer
        return Effective(
            purpose, point, False, answer.status, "none", "restricted", self._gate.decided_by, answer.conflict,
            answer.conflicting, self._law,
        )  # fmt: skip

    @cached_property
    def _gate(self) -> Effective:
        """The answer for the purpose that closes all others."""
        return self._answer(self._policy.restriction, None)

    def _answer(self, purpose: str, point: str | None) -> Effective:
        policy, law, records = self._policy, self._law, self._records
        rules, weak = policy.purposes[purpose], policy.weak_link_weight
        if purpose not in self._said:
            return _unsaid(purpose, point, rules, policy, law, [])
        voices = [_voice(d, policy, law, self._now) for d in self._said[purpose]]
        if rules.point is not None:
            voices = [voice for voice in voices if _reaches(voice.decision, point, records)]
        latest: dict[str, _Voice] = {}
        for voice in sorted((v for v in voices if v.said != "pending"), key=lambda v: v.rank):
            latest[voice.decision.record_id] = voice
        # a weak link carries denials, never grants: what its record last granted only takes back what it denied before
        standing = [v for v in latest.values() if _counts(v.decision, records, weak)]
        denials = [voice for voice in standing if voice.said in DENIALS]
        ranked = sorted((denials or standing) if rules.point is None else standing, key=lambda v: v.rank)
        if not ranked:
            heard = [v for v in voices if v.said == "pending" and _counts(v.decision, records, weak)]
            return _unsaid(purpose, point, rules, policy, law, heard)
        winner = ranked[-1]
        granted = winner.said == GRANTED
        against = sorted(v.decision.decision_id for v in standing if (v.said == GRANTED) != granted)
        reason, basis = f"{winner.said}_by_{winner.decision.subject_type}", winner.decision.basis if granted else "none"
        if absolute := rules.basis if rules.basis in ABSOLUTE else None:
            reason = basis = absolute
        return Effective(
            purpose, point, granted or absolute is not None, winner.said, basis, reason, winner.decision.decision_id,
            bool(against), tuple(against), law,
        )  # fmt: skip


def _unsaid(
    purpose: str, point: str | None, rules: Purpose, policy: Policy, law: str, pending: list[_Voice]
) -> Effective:
    """Nobody granted or denied: allowed on a basis that needs no asking, else pending, else never asked."""
    if rules.basis in ABSOLUTE:
        return Effective(purpose, point, True, "unknown", rules.basis, rules.basis, None, False, (), law)
    if basis := policy.rules(law).unasked.get(purpose):
        return Effective(purpose, point, True, "unknown", basis, f"unasked_{basis}", None, False, (), law)
    if pending:
        last = max(pending, key=lambda voice: voice.rank)
        return Effective(
            purpose, point, False, "pending", "none", last.lacks, last.decision.decision_id, False, (), law
        )
    return Effective(purpose, point, False, "unknown", "none", "never_asked", None, False, (), law)


def _voice(decision: Decision, policy: Policy, law: str, now: datetime) -> _Voice:
    if decision.status != GRANTED:
        return _Voice(decision, decision.status, "pending" if decision.status == "pending" else "")
    rules = policy.rules(law)
    if decision.basis not in rules.bases:
        return _Voice(decision, "pending", "basis_not_recognised")
    if decision.purpose in rules.double_opt_in and (decision.confirmed_at is None or decision.confirmed_at > now):
        return _Voice(decision, "pending", "double_opt_in_pending")
    kind = rules.separate_consent.get(decision.purpose)
    if kind is not None and decision.separate_consent != kind:
        return _Voice(decision, "pending", "separate_consent_missing")
    lasts = rules.grant_lasts_days
    run_out = decision.expires_at is not None and decision.expires_at <= now
    if run_out or (lasts is not None and decision.at + timedelta(days=lasts) <= now):
        return _Voice(decision, "expired", "")
    return _Voice(decision, GRANTED, "")


def _counts(decision: Decision, records: dict[str, Link], weak: float) -> bool:
    """What a weakly linked record says counts only where it denies."""
    link = records.get(decision.record_id)
    return decision.status in DENIALS or link is None or link.weight >= weak


def _reaches(decision: Decision, point: str | None, records: dict[str, Link]) -> bool:
    if decision.subject_type != "record":
        return decision.subject == point
    if decision.status in DENIALS:
        return True
    link = records.get(decision.record_id)
    return link is not None and point in link.points
