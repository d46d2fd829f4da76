"""A loyalty programme: a versioned YAML file."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import Field, model_validator

from cdp.errors import ConfigError
from cdp.strict import NAME, Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml


class Earn(Strict):
    """Points for money: `points_per_unit` for each 1.00 of the programme's currency."""

    points_per_unit: Decimal = Field(gt=0)
    exclude_skus: tuple[str, ...] = ()


class Tier(Strict):
    """A level, held by whoever earned at least `points` within the window."""

    name: str = Field(pattern=NAME)
    points: int = Field(ge=0)


class Programme(Strict):
    """One version of one programme.

    Attributes:
        restored_min_days: Points that a return gives back live at least this long.
        hold_minutes: How long points stay set aside where the caller does not say.
        adjust_limit: A correction of more points waits for a second person.
    """

    programme: str = Field(pattern=NAME)
    version: str
    unit: str = Field(pattern=NAME)
    currency: str = Field(pattern="^[A-Z]{3}$")
    earn: Earn
    tiers: tuple[Tier, ...] = Field(min_length=1)
    tier_window_days: int = Field(default=365, ge=1)
    expiry: Literal["never"] = "never"
    restored_min_days: int = Field(default=30, ge=0)
    hold_minutes: int = Field(default=30, ge=1)
    adjust_limit: int = Field(default=1000, ge=0)

    @property
    def prefix(self) -> str:
        """How the posting keys of all that follows from sources begin; other keys begin with the operation's name."""
        return f"{self.programme}|{self.unit}|"

    def key(self, order_id: str, kind: str) -> str:
        """The posting key of what an order posts: the same in pipeline, API and preview."""
        return f"{self.prefix}{order_id}|{kind}"

    @model_validator(mode="after")
    def _ladder(self) -> Self:
        points = [tier.points for tier in self.tiers]
        if points != sorted(set(points)) or points[0] != 0:
            raise ValueError("tiers start at 0 points and rise")
        return self


def load_programme(workspace: Workspace) -> Programme:
    """The workspace's programme.

    Raises:
        ConfigError: If the file is broken, or there is not exactly one.
    """
    paths = sorted(workspace.path("programmes").glob("*.y*ml"))
    if len(paths) != 1:
        raise ConfigError(
            f"{len(paths)} programmes in {workspace.path('programmes')}, expected one", "keep one file there"
        )
    return load_yaml(paths[0], Programme)
