"""All flags of one customer: every purpose on every contact point it concerns."""

from collections.abc import Iterator
from datetime import datetime

from cdp.consent.policy import Policy
from cdp.consent.resolve import Answers, Effective, Material


def customer_flags(known: Material, policy: Policy, now: datetime) -> Iterator[Effective]:
    """Every flag of one customer.

    Args:
        known: The customer's decisions, records and contact points.
        policy: Purposes and rules.
        now: The moment to answer for.
    """
    answers = Answers(known.decisions, known.links, policy, now)
    for name, purpose in policy.purposes.items():
        targets: list[str | None] = [None] if purpose.point is None else [*sorted(known.points.get(purpose.point, []))]
        for target in targets:
            yield answers.of(name, target)
