"""All flags of one customer: every purpose on every contact point it concerns."""

from collections.abc import Iterator
from datetime import datetime

from cdp.consent.policy import Policy
from cdp.consent.resolve import Decision, Effective, Link, effective


def customer_flags(
    decisions: list[Decision], links: list[Link], policy: Policy, now: datetime, points: dict[str, list[str]]
) -> Iterator[Effective]:
    """Every flag of one customer.

    Args:
        decisions: The customer's decisions.
        links: The customer's records.
        policy: Purposes and rules.
        now: The moment to answer for.
        points: Contact points by type (`email`, `phone`).
    """
    for name, purpose in policy.purposes.items():
        targets: list[str | None] = [None] if purpose.point is None else [*sorted(points.get(purpose.point, []))]
        for target in targets:
            yield effective(decisions, links, policy, now, name, target)
