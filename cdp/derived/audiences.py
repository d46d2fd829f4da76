"""Audiences: the rules of `audiences.yaml`, as pure functions over a profile, its consent and its tier."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from cdp.consent.fields import Visible, visible
from cdp.consent.policy import Policy
from cdp.consent.resolve import Material
from cdp.errors import ConfigError
from cdp.insight.rules import BUILT_IN, load_insight
from cdp.loyalty.programme import Programme
from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml

MOST_DAYS = 36_500
NAME = r"^[a-z][a-z0-9_]{0,59}$"


class Audience(Strict):
    """Whom a purpose may reach, narrowed down; all that is said must hold.

    Attributes:
        channels: Any of them.
        orders_at_least: Over all currencies.
        segments: Any of them, built in or of `insight.yaml`; counts only where a person's scores may be used.
    """

    purpose: str
    country: tuple[Annotated[str, Field(pattern="^[A-Z]{2}$")], ...] = ()
    language: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    orders_at_least: int = Field(default=0, ge=0)
    seen_within_days: int | None = Field(default=None, gt=0, le=MOST_DAYS)
    not_seen_for_days: int | None = Field(default=None, gt=0, le=MOST_DAYS)

    def holds(
        self, profile: Mapping[str, Any], tier: str | None, now: datetime, segments: Collection[str] = ()
    ) -> bool:
        """Whether a known customer is one of those it is narrowed down to, consent to the audience's purpose aside."""
        quiet = now - datetime.fromisoformat(profile["last_seen"])
        return (
            _one_of(self.country, profile["country"]["value"])
            and _one_of(self.language, profile["language"]["value"])
            and (not self.channels or not set(self.channels).isdisjoint(profile["channels"]))
            and _one_of(self.tiers, tier)
            and (not self.segments or not set(self.segments).isdisjoint(segments))
            and sum(one["orders"] for one in profile["orders"].values()) >= self.orders_at_least
            and (self.seen_within_days is None or quiet <= timedelta(days=self.seen_within_days))
            and (self.not_seen_for_days is None or quiet > timedelta(days=self.not_seen_for_days))
        )


class Audiences(Strict):
    """All of them, by name."""

    version: str
    sweep_hours: float = Field(default=24, gt=0)
    audiences: dict[Annotated[str, Field(pattern=NAME)], Audience] = Field(default_factory=dict)

    @property
    def use_segments(self) -> bool:
        """Whether any looks at segments."""
        return any(audience.segments for audience in self.audiences.values())


def _one_of(wanted: tuple[str, ...], value: str | None) -> bool:
    return not wanted or value in wanted


def load_audiences(workspace: Workspace, policy: Policy, programme: Programme) -> Audiences:
    """The audiences of `audiences.yaml`; none where the file is missing.

    Raises:
        ConfigError: If it cannot be read, or names a purpose or a tier that nobody knows.
    """
    path = workspace.path("audiences.yaml")
    found = (
        load_yaml(path, Audiences, docs="docs/channels/audiences.md") if path.exists() else Audiences(version="none")
    )
    for name, audience in found.audiences.items():
        if audience.purpose not in policy.purposes:
            raise ConfigError(
                f"audiences.yaml: {name} is for the unknown purpose {audience.purpose}",
                f"choose from {', '.join(policy.purposes)}",
            )
        tiers = {level.code for version in programme.versions for ladder in version.ladders for level in ladder.levels}
        if unknown := sorted(set(audience.tiers) - tiers):
            raise ConfigError(
                f"audiences.yaml: {name} is for the unknown tier {', '.join(unknown)}",
                f"choose from {', '.join(sorted(tiers)) or 'none: the programme has no ladder'}",
            )
    named = {name for audience in found.audiences.values() for name in audience.segments}
    if unknown := sorted(named - set(known := [*BUILT_IN, *load_insight(workspace).segments])):
        raise ConfigError(
            f"audiences.yaml: there is no segment {', '.join(unknown)}",
            f"choose from {', '.join(known)}, or add it to insight.yaml",
        )
    return found


def closed(policy: Policy, purpose: str, seen: Visible) -> str | None:
    """Why nothing of a customer may be used for a purpose; None where something may."""
    fields = policy.purposes[purpose].fields
    if any(name not in seen.withheld for name in fields):
        return None
    return next((reason for name, reason in seen.withheld.items() if name in fields), "not_for_this_purpose")


def may_reach(policy: Policy, purpose: str, known: Material, now: datetime) -> bool:
    """Whether a purpose may use anything of a customer."""
    fields = policy.purposes[purpose].fields
    return closed(policy, purpose, visible(policy, purpose, fields, known, now)) is None


def usable_segments(
    scores: Mapping[str, Mapping[str, Any]],
    consent: Mapping[str, Material],
    policy: Policy,
    purpose: str,
    now: datetime,
) -> dict[str, list[str]]:
    """Customer → segments that may be used of them: none of whom the purpose of scores does not reach.

    Args:
        scores: By customer, as served.
        consent: By customer.
        policy: The purposes.
        purpose: Whose consent lets scores be used.
        now: The moment.
    """
    return {
        customer: said["segments"] or []
        for customer, said in scores.items()
        if customer in consent and visible(policy, purpose, ("scores",), consent[customer], now).reason("scores") is None
    }
