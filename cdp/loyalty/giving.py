"""What a programme gives besides units, and what it guards: plans, benefits, rewards, coupons, households, referral, limits, a goal."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import Field, model_validator

from cdp.loyalty.duration import Duration, parse
from cdp.loyalty.terms import Code
from cdp.strict import Strict


class Plan(Strict):
    """A membership that is paid for.

    Attributes:
        every: The period that one payment covers.
        trial: Free at the beginning, once in a customer's life.
        renews: It goes on until it is cancelled.
        share_with: How many others may use its benefits.
        refund: What is given back: nothing, the unused part, or all of it if no benefit was used in the period.
    """

    code: Code
    price: Decimal = Field(ge=0)
    every: Duration
    trial: Duration = parse("P0D")
    renews: bool = True
    benefits: tuple[Code, ...] = ()
    share_with: int = Field(default=0, ge=0)
    refund: Literal["none", "prorata", "full_if_unused"] = "none"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.price and not self.trial:
            raise ValueError("a plan has a price, or a trial")
        return self


class Quota(Strict):
    """How often a benefit may be used in a rolling time."""

    times: int = Field(ge=1)
    per: Duration


class Benefit(Strict):
    """What a level or a plan gives; `window`: how long around its occasion (a birthday) it can be used."""

    code: Code
    kind: Literal[
        "free_shipping", "early_access", "exclusive_product", "content", "discount", "birthday", "coupon", "service", "multiplier_day"
    ]  # fmt: skip
    quota: Quota | None = None
    window: Duration | None = None
    value: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "birthday" and not self.window:
            raise ValueError("a birthday needs a 'window', such as P7D")
        return self


class Reward(Strict):
    """What units buy. `stock`: how many there are; `once`: one for each customer, ever."""

    code: Code
    cost: dict[Code, int] = Field(min_length=1)
    kind: Literal["product", "discount", "cash", "access", "coupon"] = "product"
    value: str | None = None
    min_level: Code | None = None
    stock: int | None = Field(default=None, ge=0)
    once: bool = False


class Coupon(Strict):
    """Codes that are issued one by one. `budget`: how many may be issued; `per_customer`: to one customer."""

    code: Code
    value: str
    budget: int | None = Field(default=None, ge=1)
    per_customer: int = Field(default=1, ge=1)
    valid: Duration = parse("P30D")
    min_level: Code | None = None


class Household(Strict):
    """What people who have agreed to it share: the benefits of a plan, or also their units."""

    mode: Literal["none", "share_benefits", "pool_units"] = "none"
    max_members: int = Field(default=6, ge=2)


class Referral(Strict):
    """Both are rewarded once the invited person has bought for so much.

    Attributes:
        min_order: What the first order must come to, less what came back.
        per_year: How many invitations of one customer are rewarded in a local year.
    """

    unit: Code
    referrer: int = Field(ge=0)
    referred: int = Field(ge=0)
    min_order: Decimal = Field(default=Decimal(0), ge=0)
    per_year: int = Field(default=10, ge=1)


class Guards(Strict):
    """What no customer does by hand: above it a channel's request is refused, and a person has to look.

    Attributes:
        redemptions_per_hour: Times units are spent.
        units_per_day: Units spent in 24 hours.
        earnings_per_day: Sales posted by channels in 24 hours.
        offline_units: The most that a till may be allowed to spend offline, for one customer.
        offline_hours: For how long.
    """

    redemptions_per_hour: int | None = Field(default=None, ge=1)
    units_per_day: int | None = Field(default=None, ge=1)
    earnings_per_day: int | None = Field(default=None, ge=1)
    offline_units: int = Field(default=500, ge=0)
    offline_hours: int = Field(default=24, ge=1, le=24 * 14)


class Goal(Strict):
    """What a programme is for, as a measure that the reports compare with what is.

    Attributes:
        measure: Share of members who bought again within a year, who bought in the last year, who spent units, or who hold a
            level above the lowest.
        target: The share that is wanted.
        audience: In words: for whom.
    """

    measure: Literal["repeat_rate", "active_share", "redeemer_share", "tier_share"]
    target: Decimal = Field(gt=0, le=1)
    audience: str = "every member"
