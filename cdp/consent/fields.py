"""What of a profile may be read for a purpose, and why not the rest."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from cdp.consent.policy import ABSOLUTE, Policy
from cdp.consent.resolve import Material, effective

ELSEWHERE = "not_for_this_purpose"
NO_POINT = "no_contact_point"


@dataclass(frozen=True)
class Visible:
    """What may be read.

    Attributes:
        purpose: What for.
        withheld: Field → reason it is withheld.
        points: Contact points that may be used; None where the purpose looks at none.
        refused: Contact point → reason.
    """

    purpose: str
    withheld: dict[str, str]
    points: frozenset[str] | None = None
    refused: dict[str, str] = field(default_factory=dict)

    def reason(self, name: str, value: str | None = None) -> str | None:
        """Why a field (a contact point: with this value) is withheld; None where it may be read."""
        if found := self.withheld.get(name):
            return found
        if name in ("email", "phone") and self.points is not None and value is not None and value not in self.points:
            return self.refused.get(value, "never_asked")
        return None


def visible(policy: Policy, purpose: str, fields: Iterable[str], known: Material | None, now: datetime) -> Visible:
    """What of these fields may be read for a purpose.

    A purpose that needs no asking sees the fields that it names. Another sees them only where its effective consent
    allows: as a whole, or by contact point.

    Args:
        policy: Purposes with their fields.
        purpose: One of them.
        fields: All fields that could be read.
        known: The customer's consent; not needed where the purpose needs no asking.
        now: The moment.
    """
    rules = policy.purposes[purpose]
    withheld = {name: ELSEWHERE for name in fields if name not in rules.fields}
    if rules.basis in ABSOLUTE or known is None:
        closed = None if rules.basis in ABSOLUTE else "never_asked"
        return Visible(purpose, withheld if closed is None else {**dict.fromkeys(fields, closed), **withheld})
    if rules.point is None:
        answer = effective(known.decisions, known.links, policy, now, purpose)
        return Visible(purpose, withheld if answer.allowed else {**dict.fromkeys(fields, answer.reason), **withheld})
    answers = [
        effective(known.decisions, known.links, policy, now, purpose, p) for p in known.points.get(rules.point, [])
    ]
    points = frozenset(str(a.contact_point) for a in answers if a.allowed)
    refused = {str(a.contact_point): a.reason for a in answers if not a.allowed}
    if not points:
        closed = next(iter(refused.values()), NO_POINT)
        withheld = {**dict.fromkeys(fields, closed), **withheld}
    return Visible(purpose, withheld, points, refused)
