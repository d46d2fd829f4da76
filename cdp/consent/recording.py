"""From what a person, an agent or a signal says to the decisions that are recorded."""

from dataclasses import dataclass, replace
from datetime import datetime

from cdp.consent.policy import Policy
from cdp.consent.resolve import DENIALS, Decision, Material
from cdp.errors import Invalid


class CannotRecord(Invalid):
    """What was said cannot be recorded as it was said."""


@dataclass(frozen=True)
class Said:
    """One answer of a person.

    Attributes:
        point: The contact point it is about, in standard form; None for the person as a whole, or for all points.
        captured_at: When the person acted; now where None.
    """

    purpose: str
    status: str
    method: str
    source: str
    point: str | None = None
    captured_at: datetime | None = None
    basis: str = "consent"
    expires_at: datetime | None = None
    confirmed_at: datetime | None = None
    separate_consent: str | None = None


def decisions(said: Said, known: Material, policy: Policy, now: datetime) -> list[Decision]:
    """The decisions that record an answer.

    An answer about the person as a whole is written on every record, so that it holds whichever record is asked. One
    that names a contact point is written on that point. A no to a purpose of a contact point that names none is
    written on all points of that type and on every record, so that withdrawing is never harder than granting.

    Raises:
        CannotRecord: If the purpose is unknown, the time lies ahead, or the point is missing or not the customer's.
    """
    made = _decisions(said, known, policy, now)
    return made if said.captured_at is not None else [d for d in made if not _stands(d, known)]


def _stands(said: Decision, known: Material) -> bool:
    """Whether the last that was said on this subject about this purpose is the same, by the same method: nothing new."""
    before = [
        d
        for d in known.decisions
        if (d.record_id, d.subject, d.purpose) == (said.record_id, said.subject, said.purpose)
    ]
    last = max(before, key=lambda d: (d.at, d.received_at), default=None)
    return last is not None and (last.status, last.method, last.source) == (said.status, said.method, said.source)


def _decisions(said: Said, known: Material, policy: Policy, now: datetime) -> list[Decision]:
    rules = policy.purposes.get(said.purpose)
    if rules is None:
        raise CannotRecord("unknown purpose", f"choose from {', '.join(policy.purposes)}")
    for when in (said.captured_at, said.confirmed_at):
        if when is not None and when > now:
            raise CannotRecord("the decision is dated in the future", "send the time at which the person acted")
    base = Decision(
        "", "", "record", "", said.purpose, said.status, said.captured_at or now, now, said.source, said.method, said.basis,
        said.expires_at, said.confirmed_at, said.separate_consent,
    )  # fmt: skip
    on_records = [replace(base, record_id=record, subject=record) for record in sorted(known.records)]
    if rules.point is None:
        if said.point is not None:
            raise CannotRecord("this purpose concerns the person as a whole", "leave contact_point out")
        return on_records
    held = known.points.get(rules.point, [])
    if said.point is None:
        if said.status not in DENIALS:
            raise CannotRecord("this purpose needs a contact point", f"name the {rules.point} it is for")
        return [*(_on_point(base, rules.point, point, known) for point in held), *on_records]
    if said.point not in held:
        raise CannotRecord(f"this customer holds no such {rules.point}", "see the customer's consents for those held")
    return [_on_point(base, rules.point, said.point, known)]


def signalled(signal: str, known: Material, policy: Policy, now: datetime, source: str) -> list[Decision]:
    """A signal's denial of every purpose that it concerns, and of no other, on every record."""
    methods = {"gpc": "global_privacy_control"}
    said = (Said(purpose, "denied", methods[signal], source) for purpose in policy.signalled(signal))
    return [decision for one in said for decision in decisions(one, known, policy, now)]


def gpc(value: str | None) -> bool:
    """Whether a `Sec-GPC` header asks not to sell or share: exactly `1` does.

    Raises:
        CannotRecord: If it has another value; the specification gives none a meaning.
    """
    if value is not None and value != "1":
        raise CannotRecord("Sec-GPC has one meaning, '1'; any other value is ignored", "leave the header out")
    return value == "1"


def _on_point(base: Decision, kind: str, point: str, known: Material) -> Decision:
    record = min((-link.weight, link.record_id) for link in known.links if point in link.points)[1]
    return replace(base, record_id=record, subject_type=kind, subject=point)
