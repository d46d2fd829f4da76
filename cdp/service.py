"""What the help desk promises and whom it takes special care of: the rules of `service.yaml`, as pure functions."""

import statistics
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from pydantic import Field

from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml

FEW = 3  # orders below which nobody has a usual gap


class Leaving(Strict):
    """Signs that somebody is about to leave; any one of them is enough."""

    quiet_times_usual: float = Field(default=3, gt=1)
    nps_at_most: int = Field(default=6, ge=0, le=10)
    bad_ratings: tuple[str, ...] = ("bad",)


class Service(Strict):
    """The rules.

    Attributes:
        closed: States of a ticket in which nobody waits.
        deadline_hours: From when a ticket was opened, by tier.
        high_value_tiers: Tiers whose people are of high value.
    """

    version: str
    closed: tuple[str, ...] = ("closed", "solved", "resolved")
    deadline_hours: dict[str, float] = Field(default_factory=lambda: {"default": 48.0})
    high_value_tiers: tuple[str, ...] = ()
    leaving: Leaving = Leaving()

    def is_open(self, status: str | None) -> bool:
        """Whether somebody waits for a ticket in this state; one without a state is open."""
        return (status or "open").strip().lower() not in self.closed

    def deadline(self, opened: datetime, tier: str | None) -> datetime | None:
        """When a ticket should be done; None where nothing is promised."""
        hours = self.deadline_hours.get(tier or "", self.deadline_hours.get("default"))
        return opened + timedelta(hours=hours) if hours is not None else None

    def flags(
        self, tier: str | None, ordered: Sequence[datetime], nps: int | None, rating: str | None, now: datetime
    ) -> list[str]:
        """Why an agent should take special care, in a fixed order.

        Args:
            tier: Held now.
            ordered: When sales happened, in any order.
            nps: The newest answer, 0 to 10.
            rating: The newest rating of a ticket.
            now: Of the question.

        Returns:
            Of `high_value`, `quiet`, `unhappy`.
        """
        found = ["high_value"] if tier in self.high_value_tiers else []
        if self._is_quiet(sorted(ordered), now):
            found.append("quiet")
        if (nps is not None and nps <= self.leaving.nps_at_most) or (rating or "").lower() in self.leaving.bad_ratings:
            found.append("unhappy")
        return found

    def _is_quiet(self, ordered: list[datetime], now: datetime) -> bool:
        days = sorted({at.date() for at in ordered})  # a visit with two receipts is one
        if len(days) < FEW:
            return False
        usual = statistics.median((later - before).days for before, later in pairwise(days))
        return (now.date() - days[-1]).days > self.leaving.quiet_times_usual * usual


def load_service(workspace: Workspace) -> Service:
    """The workspace's rules; where the file is missing nothing is flagged and 48 hours are promised.

    Raises:
        ConfigError: If the file is broken.
    """
    path = workspace.path("service.yaml")
    return load_yaml(path, Service) if path.exists() else Service(version="none")
