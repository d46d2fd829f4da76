"""What the API says and hears. Times are RFC 3339 in UTC; money is text, never a float."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cdp.standard.identify import Kind

WITHHELD = "Why the value is not shown for this purpose, though there may be one; absent where it is shown"
ID = "0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77"


class Model(BaseModel):
    """A response; unknown keys are never added silently."""

    model_config = ConfigDict(extra="forbid")


class Value(Model):
    """A value of the profile with the record it came from; masked unless revealed."""

    value: str | None = Field(examples=["s•••@yahoo.co.uk"])
    record_id: str | None = Field(examples=["web:user:w-39601947"])
    withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)


class Name(Model):
    """The name that survives."""

    given_name: str | None = Field(examples=["S•••"])
    family_name: str | None = Field(examples=["M•••"])
    full_name: str | None = Field(examples=["S•••"])
    record_id: str | None = Field(examples=["web:user:w-39601947"])
    withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)


class Spending(Model):
    """Orders and money in one currency; currencies are never added up."""

    orders: int = Field(examples=[12])
    returns: int = Field(examples=[1])
    spent: str = Field(examples=["1024.5000"])


class Record(Model):
    """A contact record of the customer."""

    record_id: str = Field(examples=["pos:card:•••0926"])
    source: str = Field(examples=["pos"])
    kind: str = Field(examples=["card"])
    first_seen: datetime
    last_seen: datetime
    link_weight: float = Field(
        examples=[99.0], description="How strongly it hangs on the customer (log2 odds; 99 = core)"
    )


class Deciding(Model):
    """The decision that decides: which record it is of, when the person acted, by what way."""

    record_id: str = Field(examples=["service:ticket:100001"])
    source: str = Field(examples=["service"])
    method: str = Field(examples=["ticket_tag"])
    captured_at: datetime | None
    received_at: datetime


class ConsentFlag(Model):
    """Effective consent for one purpose on one contact point."""

    purpose: str = Field(examples=["email_marketing"])
    contact_point: str | None = Field(examples=["s•••@yahoo.co.uk"])
    allowed: bool = Field(examples=[False])
    status: str = Field(examples=["withdrawn"])
    basis: str = Field(examples=["none"])
    reason: str = Field(examples=["withdrawn_by_email"])
    decided_by: str | None = Field(examples=["9f86d081884c7d659a2feaa0c55ad015"])
    decided: Deciding | None = Field(description="The deciding decision")
    jurisdiction: str = Field(examples=["gdpr"])
    conflict: bool = Field(examples=[True])
    conflicting: list[str] = Field(examples=[[]])


class Customer(Model):
    """One customer: the profile that survives, with provenance."""

    customer_id: str = Field(examples=[ID])
    requested_id: str = Field(examples=[ID])
    merged_into: str | None = Field(default=None, examples=[None], description="Set when the requested id is retired")
    kind: Literal["known", "anonymous"]
    name: Name
    birth_date: Value
    email: Value
    phone: Value
    postal_code: Value
    city: Value
    country: Value
    language: Value
    channels: list[str] = Field(examples=[["app", "pos", "web"]])
    first_seen: datetime
    last_seen: datetime
    orders: dict[str, Spending] = Field(examples=[{"GBP": {"orders": 12, "returns": 1, "spent": "1024.5000"}}])
    orders_withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)
    records: list[Record]
    consents: list[ConsentFlag] = Field(
        description="May we, on every contact point and purpose, and which decision says so"
    )
    purpose: str = Field(examples=["service"], description="What this answer is for")
    revealed: bool = Field(examples=[False])
    data_as_of: datetime | None = Field(description="The clock of the run that published this")


class Lookup(Model):
    """An identifier of any type, in any usual writing."""

    value: str = Field(min_length=1, max_length=320, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["07827 145546"])
    type: Kind | None = Field(default=None, examples=["phone"], description="Left out: every type it could be is tried")


class Match(Model):
    """A customer that holds the identifier."""

    customer_id: str = Field(examples=[ID])
    matched: list[str] = Field(examples=[["phone"]])
    kind: Literal["known", "anonymous"]
    name: Name
    email: Value
    phone: Value
    channels: list[str]
    consents: list[ConsentFlag]


class Matches(Model):
    """Everyone who holds it; a shared phone has several."""

    customers: list[Match]
    more: bool = Field(examples=[False], description="There are more than are shown")


class Item(Model):
    """One thing that happened."""

    id: str = Field(examples=["order:web:W536372"])
    type: str = Field(examples=["order"])
    channel: str = Field(examples=["web"])
    record_id: str = Field(examples=["web:user:w-39601947"])
    occurred_at: datetime
    details: dict[str, Any]


class Timeline(Model):
    """Newest first; `next` is the cursor of the next page."""

    customer_id: str = Field(examples=[ID])
    items: list[Item]
    withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)
    ends_at: datetime | None = Field(
        default=None, description="Nothing older is kept: the retention's end; none where all is"
    )
    next: str | None = Field(examples=[None])


class Consents(Model):
    """What may be done, and which decision says so."""

    customer_id: str = Field(examples=[ID])
    as_of: datetime
    known_at: datetime | None = Field(description="What was learned later is left out; none where nothing is")
    consents: list[ConsentFlag]


class Tier(Model):
    """The tier held now and what the next one takes."""

    tier: str = Field(examples=["silver"])
    qualifying_points: int = Field(examples=[640])
    next_tier: str | None = Field(examples=["gold"])
    points_to_next: int | None = Field(examples=[1360])
    holds_until: datetime | None = Field(examples=[None], description="When it is lost if nothing more is earned")
    points_to_keep: int | None = Field(examples=[None], description="What must be earned before then to keep it")


class Account(Model):
    """One account; a customer's balance is the sum over its accounts."""

    account_id: str = Field(examples=["default:points:pos:card:•••0926"])
    record_id: str = Field(examples=["pos:card:•••0926"])
    balance: int = Field(examples=[512])


class Movement(Model):
    """One ledger entry."""

    entry_id: str
    kind: str = Field(examples=["earn"])
    unit: str = Field(examples=["points"])
    amount: int = Field(examples=[22])
    occurred_at: datetime
    reason: str = Field(examples=["spend"])
    order_id: str | None = Field(examples=["web:W536372"])


class UnitBalance(Model):
    """What a customer has of one of the programme's units."""

    unit: str = Field(examples=["points"])
    balance: int = Field(examples=[512])


class Loyalty(Model):
    """Balance, tier and latest movements."""

    customer_id: str = Field(examples=[ID])
    programme: str = Field(examples=["default"])
    programme_version: str = Field(examples=["1"])
    unit: str = Field(examples=["points"])
    balance: int = Field(examples=[512])
    balances: list[UnitBalance] = Field(description="Of every unit of the programme")
    tier: Tier | None = Field(description="None where the programme has no ladder")
    accounts: list[Account]
    movements: list[Movement] = Field(description="The newest 20")


class Withheld(Model):
    """A whole answer that is withheld for this purpose."""

    customer_id: str = Field(examples=[ID])
    withheld: str = Field(examples=["not_for_this_purpose"], description=WITHHELD)


class Health(Model):
    """Whether it is up."""

    status: Literal["ok"] = "ok"


class Ready(Model):
    """Whether it can answer, and how fresh its data is."""

    status: Literal["ready"] = "ready"
    release: int | None
    data_as_of: datetime | None
