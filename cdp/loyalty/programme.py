"""A loyalty programme: versioned YAML files, checked as a whole."""

from datetime import date, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, field_validator, model_validator

from cdp.errors import ConfigError
from cdp.loyalty import references, short
from cdp.loyalty.giving import Benefit, Coupon, Goal, Guards, Household, Plan, Referral, Reward
from cdp.loyalty.terms import Expiry, Ladder, Level, Measure, Rule, Unit
from cdp.strict import NAME, Strict
from cdp.workspace import Workspace
from cdp.yamlfile import Mistakes, load_yaml

VIEWED = (
    "unit",
    "terms",
    "exempts",
    "moves_ends",
    "follows",
    "excluded",
)  # kept of one unit: not handed to the view of another


class Programme(Strict):
    """One version of one programme, seen through one of its units.

    Attributes:
        starts: The local day from which this version holds; the first version has none.
        join: Whoever is known is in it, or only who has a plan.
        restored_min_days: Points that a return gives back live at least this long.
        hold_minutes: How long points stay set aside where the caller does not say.
        adjust_limit: A correction of more points waits for a second person.
        goal: What the programme is for.
    """

    programme: str = Field(pattern=NAME)
    version: str
    starts: date | None = None
    timezone: str = "UTC"
    currency: str = Field(pattern="^[A-Z]{3}$")
    join: Literal["auto", "paid"] = "auto"
    units: tuple[Unit, ...] = ()
    measures: tuple[Measure, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    rules: tuple[Rule, ...] = ()
    plans: tuple[Plan, ...] = ()
    benefits: tuple[Benefit, ...] = ()
    rewards: tuple[Reward, ...] = ()
    coupons: tuple[Coupon, ...] = ()
    household: Household = Household()
    referral: Referral | None = None
    guards: Guards = Guards()
    goal: Goal | None = None
    restored_min_days: int = Field(default=30, ge=0)
    hold_minutes: int = Field(default=30, ge=1)
    adjust_limit: int = Field(default=1000, ge=0)
    _viewed: str = PrivateAttr("")
    _versions: tuple["Programme", ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, values: Any) -> Any:
        return short.written_out(values) if isinstance(values, dict) else values

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("no time zone of this name: expected one such as Europe/London") from error
        return name

    @model_validator(mode="after")
    def _references(self) -> Self:
        if found := list(references.problems(self)):
            raise Mistakes(found)
        return self

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone of its days, months and years."""
        return ZoneInfo(self.timezone)

    @cached_property
    def unit(self) -> str:
        """The code of the unit that is looked at; the first one where none was chosen."""
        return self._viewed or (self.units[0].code if self.units else "")

    @cached_property
    def terms(self) -> Unit:
        """The rules of the unit that is looked at."""
        return next(unit for unit in self.units if unit.code == self.unit)

    def of(self, unit: str) -> "Programme":
        """The same programme, looked at through another unit."""
        if unit == self.unit:
            return self
        seen = self.model_copy()
        for name in VIEWED:
            seen.__dict__.pop(name, None)
        seen._viewed, seen._versions = unit, self._versions
        return seen

    def at(self, moment: datetime) -> "Programme":
        """The version that holds at a moment, through the same unit."""
        day = moment.astimezone(self.zone).date()
        held = [version for version in self.versions if version.starts is None or version.starts <= day]
        chosen = held[-1] if held else self.versions[0]
        return chosen.of(self.unit) if any(unit.code == self.unit for unit in chosen.units) else chosen

    @property
    def versions(self) -> tuple["Programme", ...]:
        """All versions, the oldest first."""
        return self._versions or (self,)

    @property
    def fingerprint(self) -> str:
        """All that the rules say, in all versions."""
        return "\n".join(version.model_dump_json() for version in self.versions)

    @property
    def prefix(self) -> str:
        """How the posting keys of all that follows from sources begin; other keys begin with the operation's name."""
        return f"{self.programme}|{self.unit}|"

    def key(self, order_id: str, kind: str) -> str:
        """The posting key of what an order posts: the same in pipeline, API and preview."""
        return f"{self.prefix}{order_id}|{kind}"

    def measure(self, ladder: Ladder) -> Measure:
        """What a ladder looks at."""
        return next(measure for measure in self.measures if measure.code == ladder.measure)

    def expiry_at(self, level: Level | None) -> Expiry:
        """How the unit ends for who holds this level."""
        return (level.expiry.get(self.unit) if level else None) or self.terms.expiry

    @cached_property
    def exempts(self) -> bool:
        """Whether the unit ends otherwise while a level is held."""
        found = [step.expiry.get(self.unit) for ladder in self.ladders for step in ladder.levels]
        return any(expiry is not None and expiry.binding == "live" for expiry in found)

    @cached_property
    def moves_ends(self) -> bool:
        """Whether what happens later moves the end of what is open: by activity, or with the tier."""
        if not self.units:
            return False
        own = [self.terms.expiry, *(level.expiry[self.unit] for ladder in self.ladders for level in ladder.levels if self.unit in level.expiry)]  # fmt: skip
        return any(e.mode == "inactivity" or e.extend_by or e.binding == "live" for e in own)

    def scale_of(self, unit: str) -> int:
        """Decimal places of a unit; none where the programme does not know it."""
        return next((held.scale for held in self.units if held.code == unit), 0)

    def parts(self, units: int) -> int:
        """Whole units as amounts count them: YAML says whole units, ledger and API their smallest part."""
        return units * int(10**self.terms.scale)

    @cached_property
    def excluded(self) -> frozenset[str]:
        """Articles that earn nothing under any rule for this unit, in capitals."""
        found = [rule.exclude_skus for rule in self.rules if rule.unit == self.unit and rule.event == "order" and rule.times is None]  # fmt: skip
        named = [frozenset(sku.upper() for sku in skus) for skus in found]
        return frozenset.intersection(*named) if named else frozenset()

    @property
    def spends(self) -> str:
        """The unit that orders are paid with: the first that can be spent."""
        return next((unit.code for unit in self.units if unit.redeemable), "")

    @property
    def ladder(self) -> Ladder | None:
        """The ladder whose level multiplies what is earned and moves what ends."""
        return self.ladders[0] if self.ladders else None

    @property
    def measured(self) -> str:
        """The code of the unit that decides the level; empty where there is no ladder."""
        return self.measure(self.ladder).unit if self.ladder else ""

    @property
    def remembers(self) -> bool:
        """Whether what is earned depends on what was before: on a level or a limit. It is then bound when it first posts."""
        return any(
            rule.by_tier or rule.limit or rule.where.level for version in self.versions for rule in version.rules
        )

    @property
    def asks_the_past(self) -> bool:
        """Whether what an order owes depends on what is in the store: on what has posted, or on who has paid to join."""
        return self.remembers or self.join == "paid"

    @cached_property
    def follows(self) -> tuple[str, ...]:
        """Other units whose ends follow a level that this one decides."""
        ladder = self.ladder
        if ladder is None or self.measured != self.unit:
            return ()
        live = {unit for level in ladder.levels for unit, expiry in level.expiry.items() if expiry.binding == "live"}
        return tuple(sorted(live - {self.unit}))

    @property
    def events(self) -> frozenset[str]:
        """What earns besides orders."""
        return frozenset(rule.event for version in self.versions for rule in version.rules) - {"order"}


def read_programme(path: Path) -> Programme:
    """One version from its file.

    Raises:
        ConfigError: If it is broken: `file:line: where: what is wrong`.
    """
    return load_yaml(path, Programme, docs="docs/loyalty.md")


def load_programme(workspace: Workspace) -> Programme:
    """The workspace's programme: its newest version, which knows the earlier ones.

    Raises:
        ConfigError: If a file is broken, there is none, or the versions do not follow one another.
    """
    folder = workspace.path("programmes")
    paths = sorted(folder.glob("*.y*ml"))
    if not paths:
        raise ConfigError(f"no programme in {folder}", "run 'cdp init', or write one: docs/loyalty.md")
    loaded = sorted((read_programme(path) for path in paths), key=lambda p: p.starts or date.min)
    if len(names := {p.programme for p in loaded}) > 1:
        raise ConfigError(
            f"programmes {', '.join(sorted(names))} in {folder}, expected one", "keep the versions of one programme there"
        )  # fmt: skip
    for before, after in pairwise(loaded):
        if before.starts == after.starts or before.version == after.version or after.starts is None:
            raise ConfigError(
                f"{folder}: version {after.version} does not follow version {before.version}",
                "give every version after the first its own 'version' and the day it 'starts'",
            )
        if {u.code: u.scale for u in before.units}.items() - {u.code: u.scale for u in after.units}.items():
            raise ConfigError(
                f"{folder}: version {after.version} drops a unit or changes its scale", "keep the units of version " + before.version
            )  # fmt: skip
    newest = loaded[-1]
    newest._versions = tuple(loaded)
    for version in loaded:
        version._versions = newest._versions
    return newest
