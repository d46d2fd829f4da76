"""What loyalty endpoints take and answer."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from api.schemas import ID, Model, Moment, Truth, Whole
from cdp.strict import NAME

TRANSACTION = "0197f3a2-7c1e-4b3a-9d55-2f6f0c1a4e77"
Points = Annotated[int, Field(ge=1, le=1_000_000_000, examples=[100])]
Unit = Annotated[
    str | None,
    Field(pattern=NAME, max_length=60, description="The first that can be spent where left out", examples=[None]),
]
CLEAN = r"^[^\x00-\x1f\x7f]*$"
Why = Annotated[
    str, Field(min_length=1, max_length=200, pattern=CLEAN, examples=["checkout 7"], description="No personal data")
]


class Spend(Model):
    """Spend points."""

    points: Points
    unit: Unit = None
    record_id: str | None = Field(
        None,
        pattern=CLEAN,
        max_length=300,
        description="The contact record that asks; the customer's oldest where left out",
    )
    order_id: str | None = Field(None, pattern=CLEAN, max_length=200, examples=["pos:T1001"])
    transaction_id: UUID | None = Field(
        None, description="Made by the client; follows from the Idempotency-Key where left out"
    )
    reason: Why = "redeem"


class SetAside(Model):
    """Set points aside for a checkout."""

    points: Points
    unit: Unit = None
    minutes: Whole | None = Field(
        None, ge=1, le=7 * 24 * 60, description="How long; the programme's own where left out"
    )
    record_id: str | None = Field(None, pattern=CLEAN, max_length=300)
    order_id: str | None = Field(None, pattern=CLEAN, max_length=200)
    hold_id: UUID | None = Field(None, description="Made by the client")
    reason: Why = "checkout"


class Capture(Model):
    """Spend what was set aside."""

    points: Points | None = Field(
        None, description="Less than was set aside: the rest returns. All of it where left out"
    )


class Correct(Model):
    """Correct a balance."""

    unit: Unit = None
    points: Whole = Field(ge=-1_000_000_000, le=1_000_000_000, examples=[50], description="Signed, not 0")
    record_id: str | None = Field(None, pattern=CLEAN, max_length=300)
    reason: Why


class SaleLine(Model):
    """One line of a sale."""

    line_no: Whole = Field(ge=1, le=100_000)
    sku: str = Field(min_length=1, max_length=100, pattern=CLEAN, examples=["MUG"])
    quantity: Whole = Field(ge=1, le=1_000_000)
    amount: Decimal = Field(
        ge=0,
        max_digits=14,
        decimal_places=4,
        examples=["9.99"],
        description="Of the whole line, in the sale's currency",
    )


class Sale(Model):
    """A sale as it happens; the same order comes again in the source's files and adds nothing."""

    source: str = Field(pattern=NAME, examples=["pos"])
    order_key: str = Field(
        pattern=CLEAN, min_length=1, max_length=200, examples=["T1001"], description="The order's number in that source"
    )
    ordered_at: Moment
    currency: str = Field(pattern="^[A-Z]{3}$", examples=["GBP"])
    lines: list[SaleLine] = Field(min_length=1, max_length=1000)
    points_redeemed: Whole = Field(0, ge=0, le=1_000_000_000, description="Paid with points")
    record_id: str | None = Field(
        None,
        pattern=CLEAN,
        max_length=300,
        description="The contact record that bought; the customer's oldest where left out",
    )


class Reverse(Model):
    """Take a transaction back."""

    reason: Why


class Decide(Model):
    """The second person's answer."""

    approve: Truth


class Stands(Model):
    """How a customer's points stand."""

    balance: int = Field(examples=[512])
    held: int = Field(examples=[0], description="Set aside")
    available: int = Field(examples=[512], description="What may be spent now")
    balance_version: str = Field(examples=["14-9f2c1a7b"], description="Another one after every change")


class Receipt(Stands):
    """What an operation did."""

    customer_id: str = Field(examples=[ID])
    transaction_id: str = Field(examples=[TRANSACTION])
    points: int = Field(examples=[-100], description="Signed")


class Earned(Stands):
    """What a sale posted now."""

    customer_id: str = Field(examples=[ID])
    order_id: str = Field(examples=["pos:T1001"])
    points: int = Field(examples=[42], description="Signed: earned less spent; 0 for a sale that was known")
    units: dict[str, int] = Field(examples=[{"points": 42}], description="The same for every unit of the programme")
    reason: str | None = Field(examples=[None], description="Why it earns nothing, if so")


class Hold(Stands):
    """Points set aside."""

    customer_id: str = Field(examples=[ID])
    hold_id: str = Field(examples=[TRANSACTION])
    points: int = Field(examples=[100])
    status: Literal["open", "captured", "voided", "ended"]
    captured: int | None = Field(examples=[None])
    expires_at: datetime


class Waiting(Model):
    """A correction that waits for a second person."""

    approval_id: str = Field(examples=[TRANSACTION])
    customer_id: str | None = Field(examples=[ID])
    points: int = Field(examples=[5000])
    reason: str
    asked_by: str = Field(examples=["key:console"])
    asked_at: datetime
    status: Literal["waiting", "approved", "refused"]


class WaitingList(Model):
    """Corrections that wait, the oldest first."""

    approvals: list[Waiting]


class Ending(Model):
    """Points that end together."""

    expires_at: datetime | None = Field(description="None: they do not end")
    points: int = Field(examples=[120])


class Balance(Stands):
    """How a customer's points stand, and when they end."""

    customer_id: str = Field(examples=[ID])
    programme: str = Field(examples=["default"])
    unit: str = Field(examples=["points"])
    as_of: datetime
    owed: int = Field(examples=[0], description="Taken beyond what there was; later points pay it")
    expiring: list[Ending] = Field(description="Sums to the balance, less what is owed")


class PastBalance(Model):
    """What the books say of a moment in the past."""

    customer_id: str = Field(examples=[ID])
    programme: str = Field(examples=["default"])
    unit: str = Field(examples=["points"])
    as_of: datetime
    balance: int = Field(examples=[480])


class Entry(Model):
    """One leg of a transaction."""

    entry_id: str
    transaction_id: str
    record_id: str | None
    unit: str = Field(examples=["points"])
    kind: str = Field(examples=["redeem"])
    points: int = Field(examples=[-100])
    occurred_at: datetime
    posted_at: datetime
    reason: str
    actor: str
    order_id: str | None
    programme_version: str


class Entries(Model):
    """Entries, the newest first."""

    customer_id: str = Field(examples=[ID])
    entries: list[Entry]
    next: str | None = Field(description="Cursor of the next page; none: that was all")
