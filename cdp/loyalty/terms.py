"""What a programme is made of: units, measures, ladders, earning rules, plans, benefits, rewards, coupons."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from cdp.loyalty.duration import Duration, parse
from cdp.strict import NAME, Strict

Code = Annotated[str, StringConstraints(pattern=NAME)]
MonthDay = Annotated[str, StringConstraints(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]


class Expiry(Strict):
    """When units end.

    Attributes:
        mode: `never`; `after` a time; on the next of `dates` (`calendar`); after a time without activity (`inactivity`).
        after: How long; for `calendar` the least they live.
        dates: Days of the year (MM-DD) at whose end units go.
        round_to: The end moves to the end of its local day, month or year.
        activities: What counts as activity: kinds of entries (earn, redeem) or codes of earning rules.
        extend_by: An activity moves the ends of what is open by so much, at most once in a calendar month.
        binding: `at_earn`: decided when they are earned; `live`: follows the tier held at each moment.
        min_life: What loses an exemption lives at least so long.
    """

    mode: Literal["never", "after", "calendar", "inactivity"] = "never"
    after: Duration | None = None
    dates: tuple[MonthDay, ...] = ()
    round_to: Literal["none", "day", "month", "year"] = "none"
    activities: tuple[Code, ...] = ("earn", "redeem")
    extend_by: Duration | None = None
    binding: Literal["at_earn", "live"] = "at_earn"
    min_life: Duration = parse("P30D")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.mode in ("after", "inactivity") and not self.after:
            raise ValueError(f"mode {self.mode} needs 'after', such as P12M")
        if (self.mode == "calendar") != bool(self.dates):
            raise ValueError("mode calendar and 'dates' (MM-DD) belong together")
        for day in self.dates:
            if int(day[3:]) > (29, 31)[int(day[:2]) in (1, 3, 5, 7, 8, 10, 12)] + (int(day[:2]) in (4, 6, 9, 11)):
                raise ValueError(f"{day} is no day of a year")
        if self.extend_by is not None and self.mode not in ("after", "calendar"):
            raise ValueError("extend_by goes with the modes after and calendar")
        return self


class Unit(Strict):
    """What is counted in the ledger: points, stars, a growth value, or money spent.

    Attributes:
        scale: Decimal places; amounts are integers of the smallest part.
        redeemable: Whether it can be spent.
        cost: What one unit costs the business, in the programme's currency, if redeemed.
        redemption_rate: The share of units that is expected to be redeemed, for the liability.
    """

    code: Code
    scale: int = Field(default=0, ge=0, le=6)
    redeemable: bool = True
    expiry: Expiry = Expiry()
    cost: Decimal = Field(default=Decimal(0), ge=0)
    redemption_rate: Decimal = Field(default=Decimal(1), gt=0, le=1)


class Measure(Strict):
    """What a ladder looks at: units earned, less what was taken back, in a window.

    What a return takes back counts at the time of its order, so that it also lowers the year that is over.
    Money spent and events counted are units of their own that are not redeemable.
    """

    code: Code
    unit: Code
    window: Literal["rolling", "calendar_year", "anniversary", "since_tier", "lifetime"] = "lifetime"
    length: Duration | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.window == "rolling") != bool(self.length):
            raise ValueError("window: rolling and 'length' belong together")
        return self


class Level(Strict):
    """A step of a ladder.

    Attributes:
        enter_at: What the measure must reach, in whole units.
        keep_at: What keeps it when its validity ends; `enter_at` where left out.
        earn_multiplier: For earning rules with `by_tier`.
        expiry: Other expiry of a unit while the level is held (`binding: live`) or for what is earned at it.
    """

    code: Code
    enter_at: int = Field(ge=0)
    keep_at: int | None = Field(default=None, ge=0)
    benefits: tuple[Code, ...] = ()
    earn_multiplier: Decimal = Field(default=Decimal(1), gt=0)
    expiry: dict[Code, Expiry] = Field(default_factory=dict)

    @property
    def keeps(self) -> int:
        """What keeps the level."""
        return self.enter_at if self.keep_at is None else self.keep_at

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for unit, expiry in self.expiry.items():
            if expiry.mode == "inactivity" or expiry.extend_by:
                raise ValueError(
                    f"expiry of {unit}: what a level gives ends after a time, on a date, or never; activity moves the unit's own"
                )
        return self


class Ladder(Strict):
    """Levels, how they are reached, how long they hold and how they are lost.

    Attributes:
        upgrade: At once, or at the end of the calendar year.
        valid: How long a level holds before it is asked again whether it is kept.
        downgrade: To what the measure reaches (`recompute`), one level, or never.
        grace: How long a level is still held after it would be lost.
    """

    code: Code
    measure: Code
    levels: tuple[Level, ...] = Field(min_length=1)
    upgrade: Literal["immediate", "period_end"] = "immediate"
    valid: Literal["while_qualified", "duration", "calendar_year_end", "next_calendar_year_end"] = "while_qualified"
    duration: Duration | None = None
    downgrade: Literal["recompute", "one_step", "never"] = "recompute"
    grace: Duration = parse("P0D")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        entries = [level.enter_at for level in self.levels]
        if entries != sorted(set(entries)) or entries[0] != 0:
            raise ValueError("levels start at 0 and rise")
        if any(level.keeps > level.enter_at for level in self.levels):
            raise ValueError("keep_at cannot be above enter_at")
        if self.upgrade == "period_end" and self.valid not in ("calendar_year_end", "next_calendar_year_end"):
            raise ValueError("upgrade: period_end goes with a validity to the end of a year")
        codes(self.levels, "level")
        if (self.valid == "duration") != bool(self.duration):
            raise ValueError("valid: duration and 'duration' belong together")
        return self


class Limit(Strict):
    """How often a rule counts, or how much it gives, over the customer.

    Attributes:
        times: So many times.
        units: So much in all.
        per: In a local `day`, `week`, `month`, `year`; for one `order`; or `ever`.
    """

    times: int | None = Field(default=None, ge=1)
    units: int | None = Field(default=None, ge=1)
    per: Literal["day", "week", "month", "year", "order", "ever"]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.times is None) == (self.units is None):
            raise ValueError("give either times or units")
        return self


class Where(Strict):
    """What an activity must be; every line that is given must hold.

    Attributes:
        source: One of these.
        amount_from: Its value, in the programme's currency.
        skus: Lines of these articles alone earn; an order must hold one.
        level: The customer holds one of these levels.
        properties: Values of what the event carries.
    """

    source: tuple[str, ...] = ()
    amount_from: Decimal | None = None
    skus: tuple[str, ...] = ()
    level: tuple[Code, ...] = ()
    properties: dict[str, str | int | bool] = Field(default_factory=dict)


class Active(Strict):
    """When a rule holds: between dates, on days of the year (11-11), on days of the month, by the programme's zone."""

    start: date | None = None
    end: date | None = None
    days: tuple[MonthDay, ...] = ()
    month_days: tuple[Annotated[int, Field(ge=1, le=31)], ...] = ()

    def at(self, moment: datetime, zone: ZoneInfo) -> bool:
        """Whether it holds; both dates are included."""
        day = moment.astimezone(zone).date()
        if (self.start and day < self.start) or (self.end and day > self.end):
            return False
        named = f"{day:%m-%d}" in self.days or day.day in self.month_days
        return named or not (self.days or self.month_days)


class PerMoney(Strict):
    """So many units for so much money."""

    units: Decimal = Field(default=Decimal(1), gt=0)
    amount: Decimal = Field(default=Decimal(1), gt=0)


def event_name(text: str) -> str:
    """An event's type as rules compare it: `Product Reviewed` and `product_reviewed` are one."""
    return "_".join(text.strip().lower().split())


Event = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(event_name)]


class Rule(Strict):
    """An earning rule: what happened, what it must be, what it gives.

    Attributes:
        event: `order`, or the type of an event as its source names it (`Product Reviewed`, `Friend Referred`, `check_in` …).
        per_money: Units for money; `fixed`: units at once; `per_item`: units for each article; `times`: so many times
            what the rules before it gave, instead of once.
        stack: `add` to the others; only the `best` of those that say so; `stop`: no rule after it counts.
        priority: Rules are asked in this order, then as written.
        by_tier: What it gives is multiplied by the level's `earn_multiplier`.
        exclude_skus: Articles that earn nothing: postage, fees, gift cards.
    """

    code: Code
    event: Event = "order"
    unit: Code
    per_money: PerMoney | None = None
    fixed: int | None = Field(default=None, ge=1)
    per_item: int | None = Field(default=None, ge=1)
    times: Decimal | None = Field(default=None, gt=1)
    where: Where = Where()
    active: Active = Active()
    limit: Limit | None = None
    priority: int = 100
    stack: Literal["add", "best", "stop"] = "add"
    by_tier: bool = False
    exclude_skus: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = [name for name in ("per_money", "fixed", "per_item", "times") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of per_money, fixed, per_item, times")
        if self.event != "order" and given != ["fixed"] and given != ["per_money"]:
            raise ValueError("only orders have articles and earlier rules: an event gives fixed or per_money")
        return self


def codes(parts: tuple[Any, ...], what: str) -> set[str]:
    """The codes of parts, each of which may stand once.

    Raises:
        ValueError: If one stands twice.
    """
    found: set[str] = set()
    for part in parts:
        if part.code in found:
            raise ValueError(f"{what} {part.code} stands twice")
        found.add(part.code)
    return found
