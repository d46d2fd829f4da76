"""The rules of `insight.yaml`: horizons, the steps of a visit, and the tenant's own segments."""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from cdp.consent.policy import load_policy
from cdp.errors import ConfigError
from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml, plain

State = Literal["prospect", "new", "active", "occasional", "at_risk", "dormant", "churned", "reactivated"]
Stage = Literal["acquisition", "growth", "maturity", "decline"]
Loyalty = Literal["behavioural", "attitudinal", "composite", "spurious", "latent", "none", "unknown"]
Score = Annotated[int, Field(ge=1, le=5)]
BUILT_IN = ("high_value", "slowing", *State.__args__)  # type: ignore[attr-defined]


class Span(Strict):
    """A range; either end may be left open, both are included."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_end(self) -> "Span":
        if self.at_least is None and self.at_most is None:
            raise ValueError("say at_least, at_most, or both")
        return self


@cache
def _zones() -> set[str]:
    """All time zones; each time they are asked for, the folders of the database are walked through."""
    return available_timezones()


class Segment(Strict):
    """Whom a segment holds; all that is said must hold, and something must be said."""

    state: tuple[State, ...] = ()
    stage: tuple[Stage, ...] = ()
    loyalty: tuple[Loyalty, ...] = ()
    preferred_channel: tuple[str, ...] = ()
    r: tuple[Score, ...] = ()
    f: tuple[Score, ...] = ()
    m: tuple[Score, ...] = ()
    recency_days: Span | None = None
    purchase_days: Span | None = None
    net: Span | None = None
    discounted_share: Span | None = None
    churn: Span | None = None
    value: Span | None = None

    @model_validator(mode="after")
    def _narrows(self) -> "Segment":
        if not self.condition()[0]:
            raise ValueError("a segment without a condition holds everybody: say at least one")
        return self

    def condition(self, prefix: str = "") -> tuple[str, dict[str, Any]]:
        """SQL over `mart__customer_scores`, and what is bound into it. What is unknown of a customer holds nothing."""
        parts, bound = [], {}
        for name in type(self).model_fields:
            said = getattr(self, name)
            if isinstance(said, Span):
                for end, sign in (("at_least", ">="), ("at_most", "<=")):
                    if (value := getattr(said, end)) is not None:
                        parts.append(f"{name} {sign} ${prefix}{name}_{end}")
                        bound[f"{prefix}{name}_{end}"] = value
            elif said:
                parts.append(f"list_contains(${prefix}{name}, {name})")
                bound[f"{prefix}{name}"] = list(said)
        return " and ".join(parts), bound


class Insight(Strict):
    """The rules.

    Attributes:
        purpose: Whose consent lets scores of a person be used.
        funnel: Step of a visit → names of events and pages that reach it, in the order of the steps.
    """

    version: str
    timezone: str = "UTC"
    purpose: str = "analytics"
    currency: str = Field(default="", pattern="^([A-Z]{3})?$")
    horizon_days: int = Field(default=0, ge=0, le=1095)
    often: int = Field(default=3, ge=2)
    rfm_days: int = Field(default=730, ge=30)
    spurious_discount: float = Field(default=0.5, gt=0, le=1)
    funnel: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    session_minutes: int = Field(default=30, gt=0, le=1440)
    touch_days: int = Field(default=30, gt=0, le=365)
    segments: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")], Segment] = Field(default_factory=dict)

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in _zones():
            raise ValueError(f"{name} is no time zone: write one such as Europe/London or Asia/Shanghai")
        return name

    @field_validator("funnel")
    @classmethod
    def _once(cls, funnel: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        names = [name for step in funnel.values() for name in step]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} reaches two steps: a name belongs to one")
        return funnel

    @field_validator("segments")
    @classmethod
    def _own_names(cls, segments: dict[str, Segment]) -> dict[str, Segment]:
        if taken := sorted(set(segments) & set(BUILT_IN)):
            raise ValueError(f"{', '.join(taken)} is there already: choose another name")
        return segments

    @property
    def zone(self) -> ZoneInfo:
        """Where days begin."""
        return ZoneInfo(self.timezone)

    def steps(self) -> Iterator[tuple[str, str, int]]:
        """(name of an event or page, step, position from 1)."""
        for position, (step, names) in enumerate(self.funnel.items(), 1):
            for name in names:
                yield name, step, position


def load_insight(workspace: Workspace) -> Insight:
    """The rules of `insight.yaml`; what it leaves out is as the program ships it.

    Raises:
        ConfigError: If it cannot be read, or names a purpose that nobody knows.
    """
    path = workspace.path("insight.yaml")
    shipped = Insight.model_validate(
        plain((resources.files("cdp") / "defaults" / "insight.yaml").read_text(encoding="utf-8"))
    )
    said = load_yaml(path, Insight, docs="docs/insight.md") if path.exists() else shipped
    rules = shipped.model_copy(update={name: getattr(said, name) for name in said.model_fields_set})
    if rules.purpose not in (known := load_policy(workspace).purposes):
        raise ConfigError(
            f"insight.yaml: scores are for the unknown purpose {rules.purpose}", f"choose from {', '.join(known)}"
        )
    return rules
