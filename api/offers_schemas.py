"""What the endpoints for plans, circles, benefits, rewards and coupons take and answer."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from api.loyalty_schemas import CLEAN, TRANSACTION, Why
from api.schemas import ID, Model, Moment, Whole
from cdp.strict import NAME

Code = Annotated[str, Field(pattern=NAME, max_length=60)]
Record = Annotated[
    str | None,
    Field(None, pattern=CLEAN, max_length=300, description="Who asks; the customer's oldest record where left out"),
]
Order = Annotated[str | None, Field(None, pattern=CLEAN, max_length=200, examples=["pos:T1001"])]
Money = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=4, examples=["14.99"])]


class Take(Model):
    """Take a reward, or use a benefit."""

    code: Code = Field(examples=["brewed100"], description="Of the reward or benefit")
    record_id: Record = None
    order_id: Order = None
    grant_id: UUID | None = Field(
        None, description="Made by the client; follows from the Idempotency-Key where left out"
    )
    reason: Why = "checkout"


class Redeem(Model):
    """Use a coupon for an order."""

    code: str = Field(
        min_length=1, max_length=40, pattern=CLEAN, examples=["7KQ2-M9XD-4T6W-0ABC"], description="As printed or typed"
    )
    order_id: str = Field(min_length=1, max_length=200, pattern=CLEAN, examples=["pos:T1001"])


class Grant(Model):
    """A reward taken, a coupon issued or used, a benefit used."""

    grant_id: str = Field(examples=[TRANSACTION])
    customer_id: str = Field(examples=[ID])
    kind: Literal["reward", "coupon", "benefit"]
    code: str = Field(examples=["brewed100"], description="Of what was offered")
    secret: str | None = Field(description="What a coupon is redeemed by", examples=[None])
    at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    undone_at: datetime | None
    order_id: str | None
    cost: dict[str, int] = Field(examples=[{"star": 100}], description="In the smallest part of each unit")


class Entitlement(Model):
    """A benefit that the customer has."""

    benefit: str = Field(examples=["ship"])
    kind: str = Field(examples=["free_shipping"])
    value: str | None = Field(examples=[None])
    because: str = Field(
        examples=["level gold"], description="What gives it: a level, a plan, or a plan that somebody shares"
    )
    until: datetime | None = Field(description="When that ends if nothing changes; never told of a birthday")
    available: bool
    withheld: str | None = Field(examples=[None], description="Why it cannot be used now")
    left: int | None = Field(examples=[3], description="How often still within its quota")


class Entitlements(Model):
    """All benefits of a customer."""

    customer_id: str = Field(examples=[ID])
    as_of: datetime
    entitlements: list[Entitlement]


class Offer(Model):
    """A reward, and whether the customer can take it now."""

    code: str = Field(examples=["brewed100"])
    kind: str = Field(examples=["product"])
    value: str | None
    cost: dict[str, int] = Field(examples=[{"star": 100}])
    min_level: str | None
    left: int | None = Field(description="Of a limited stock")
    affordable: bool = Field(description="The units are there, the level is held, some are left")


class Offers(Model):
    """The programme's rewards, as one customer sees them."""

    customer_id: str = Field(examples=[ID])
    rewards: list[Offer]


class Begin(Model):
    """Begin a plan."""

    plan: Code = Field(examples=["annual"])
    paid: Money = Field(Decimal(0), description="0 for the trial")
    record_id: Record = None
    subscription_id: UUID | None = Field(None, description="Made by the client")
    reason: Why = "checkout"


class Pay(Model):
    """A payment for one period more."""

    paid: Money
    reason: Why = "renewal"


class Stop(Model):
    """End a plan."""

    reason: Why


class Subscription(Model):
    """How a subscription stands."""

    subscription_id: str = Field(examples=[TRANSACTION])
    customer_id: str = Field(examples=[ID])
    plan: str = Field(examples=["annual"])
    status: Literal["trial", "active", "lapsed", "refunded"]
    since: datetime
    until: datetime
    renews: bool
    refunded: Decimal | None = Field(None, description="What is to be paid back")


class Subscriptions(Model):
    """All subscriptions of a customer, the newest first."""

    customer_id: str = Field(examples=[ID])
    subscriptions: list[Subscription]


class Invite(Model):
    """Ask another customer into the circle."""

    customer_id: UUID = Field(examples=[ID])
    record_id: Record = None


class Join(Model):
    """Answer an invitation, or leave."""

    record_id: Record = None


class Circle(Model):
    """Who shares: nobody is in it who has not said so."""

    circle_id: str | None = Field(examples=[TRANSACTION])
    members: list[str] = Field(examples=[[ID]])
    invited: list[str]
    shares: Literal["none", "share_benefits", "pool_units"]


class ReferralCode(Model):
    """A customer's code to invite others with."""

    customer_id: str = Field(examples=[ID])
    code: str = Field(examples=["7KQ2M9XD4T"])


class Claim(Model):
    """Say who invited a new customer."""

    code: str = Field(min_length=1, max_length=40, pattern=CLEAN, examples=["7KQ2-M9XD-4T"])
    record_id: Record = None


class Claimed(Model):
    """A claim: both are rewarded once the invited customer has bought."""

    referral_id: str = Field(examples=[TRANSACTION])
    customer_id: str = Field(examples=[ID])


class Ask(Model):
    """Ask for what a till may spend while it is offline."""

    till: str = Field(min_length=1, max_length=60, pattern=CLEAN, examples=["ST1-3"])
    points: Whole = Field(ge=1, le=1_000_000_000, examples=[200])
    hours: Whole = Field(8, ge=1, le=24 * 14)
    unit: str | None = Field(None, pattern=NAME, max_length=60)
    record_id: Record = None
    allowance_id: UUID | None = Field(None, description="Made by the client")


class Allowance(Model):
    """What a till may spend while it is offline."""

    allowance_id: str = Field(examples=[TRANSACTION])
    customer_id: str = Field(examples=[ID])
    till: str
    unit: str
    points: int
    expires_at: datetime
    signed: str = Field(description="Kept by the till and sent with what it did; names no person")


class Offline(Model):
    """One sale that a till took points for."""

    transaction_id: UUID = Field(examples=[TRANSACTION], description="Made by the till before it sold")
    allowance: str = Field(max_length=2000, description="As it was signed")
    points: Whole = Field(ge=1, le=1_000_000_000)
    at: Moment
    order_id: Order = None


class Batch(Model):
    """All that a till did while it was offline."""

    till: str = Field(min_length=1, max_length=60, pattern=CLEAN, examples=["ST1-3"])
    transactions: list[Offline] = Field(min_length=1, max_length=500)


class Outcome(Model):
    """What became of one of them, by all that is known now."""

    transaction_id: str
    status: Literal["settled", "owed", "refused"]
    points: int
    covered: int = Field(description="Within the till's allowance")
    owed: int = Field(description="Not there any more: what happened before had spent it")
    because: list[str] = Field(description="The debits before it, the latest first, at most five")
    explanation: str


class Settled(Model):
    """What became of all of them."""

    till: str
    transactions: list[Outcome]
