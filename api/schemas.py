"""What the API says and hears. Times are RFC 3339 in UTC; money is text, never a float."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from cdp.standard.identify import Kind

WITHHELD = "Why the value is not shown for this purpose, though there may be one; absent where it is shown"
ID = "0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77"


def _written(said: Any) -> Any:
    """A time is written; a number would be taken for seconds since 1970."""
    if not isinstance(said, str | datetime) or (isinstance(said, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", said)):
        raise ValueError("expected a time as RFC 3339 writes it, with its offset")
    return said


Whole = Annotated[int, Field(strict=True)]  # a number: neither its text nor true
Truth = Annotated[bool, Field(strict=True)]  # true or false: neither their text nor a number
Moment = Annotated[AwareDatetime, BeforeValidator(_written)]


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


class Ticket(Model):
    """A ticket of the help desk as it is now; what people wrote is in the timeline."""

    id: str = Field(examples=["interaction:service:100001"])
    record_id: str = Field(examples=["service:ticket:100001"])
    opened_at: datetime
    status: str | None = Field(examples=["open"])
    channel: str | None = Field(examples=["phone"])
    order_id: str | None = Field(examples=["web:W536372"])
    satisfaction: str | None = Field(default=None, examples=["good"], description="What the person rated it")
    is_open: bool = Field(examples=[True], description="Whether somebody waits: service.yaml names the other states")
    due_at: datetime | None = Field(
        description="When it should be done, by the customer's tier; none where it is closed"
    )


class Tickets(Model):
    """The newest 20 tickets."""

    items: list[Ticket]
    withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)


class Item(Model):
    """One thing that happened."""

    id: str = Field(examples=["order:web:W536372"])
    type: str = Field(examples=["order"])
    channel: str = Field(examples=["web"])
    record_id: str = Field(examples=["web:user:w-39601947"])
    occurred_at: datetime
    details: dict[str, Any]


class Interactions(Model):
    """The newest 20 things that happened; the whole story is in the timeline."""

    items: list[Item]
    withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)


class Points(Model):
    """Points in the unit that can be spent."""

    unit: str | None = Field(default=None, examples=["points"])
    balance: int | None = Field(default=None, examples=[512])
    available: int | None = Field(default=None, examples=[480], description="The balance less what is set aside")
    balance_version: str | None = Field(default=None, examples=["42-9f86d081"])
    withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)


class LoyaltyCard(Points):
    """Points in the unit that can be spent, and the tier."""

    tier: str | None = Field(default=None, examples=["gold"])


class Care(Model):
    """Whether an agent should take special care, and why: `high_value`, `quiet`, `unhappy` (service.yaml says when)."""

    reasons: list[str] = Field(examples=[["high_value", "quiet"]])
    withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)


class Scores(Model):
    """What the last run measured of a customer: docs/insight.md explains each. Empty where nothing is known, or nothing may be."""

    state: str | None = Field(default=None, examples=["active"], description="prospect, new, active, occasional, at_risk, dormant, churned, reactivated")
    stage: str | None = Field(default=None, examples=["growth"], description="acquisition, growth, maturity, decline")
    loyalty: str | None = Field(default=None, examples=["composite"], description="behavioural, attitudinal, composite, spurious, latent, none, unknown")
    loyalty_evidence: str | None = Field(default=None, description="What the type of loyalty rests on")
    recency: int | None = Field(default=None, examples=[5], description="Quintile, 5 bought last")
    frequency: int | None = Field(default=None, examples=[4], description="Quintile, 5 bought most often")
    monetary: int | None = Field(default=None, examples=[5], description="Quintile of sales less returns, 5 is the most")
    purchase_days: int | None = Field(default=None, examples=[12])
    net: float | None = Field(default=None, examples=[1024.5], description="Sales less returns so far, in `currency`")
    currency: str | None = Field(default=None, examples=["GBP"])
    preferred_channel: str | None = Field(default=None, examples=["web"])
    preferred_time: str | None = Field(default=None, examples=["evening"])
    discounted_share: float | None = Field(default=None, examples=[0.12], description="Share of spend on discounted lines")
    churn: float | None = Field(default=None, examples=[0.31], description="P(no purchase within the horizon); null while the model is not trusted")
    churn_reasons: str | None = Field(default=None, examples=["silence,returns"])
    churn_version: str | None = None
    value: float | None = Field(default=None, examples=[310.0], description="Expected spend of the next year, discounted; null while the model is not trusted")
    expected_purchases: float | None = Field(default=None, examples=[3.4])
    value_version: str | None = None
    segments: list[str] | None = Field(default=None, examples=[["active", "high_value"]])
    scored_at: datetime | None = Field(default=None, description="Since when these are the scores")
    withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)


class Customer(Model):
    """One customer: the profile that survives, with provenance. What `fields` does not name and `include` does not ask for is absent."""

    customer_id: str = Field(examples=[ID])
    requested_id: str = Field(examples=[ID])
    merged_into: str | None = Field(default=None, examples=[None], description="Set when the requested id is retired")
    kind: Literal["known", "anonymous"] = "known"
    name: Name | None = None
    birth_date: Value | None = None
    email: Value | None = None
    phone: Value | None = None
    postal_code: Value | None = None
    city: Value | None = None
    country: Value | None = None
    language: Value | None = None
    channels: list[str] = Field(default=[], examples=[["app", "pos", "web"]])
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    orders: dict[str, Spending] = Field(
        default={}, examples=[{"GBP": {"orders": 12, "returns": 1, "spent": "1024.5000"}}]
    )
    orders_withheld: str | None = Field(default=None, examples=[None], description=WITHHELD)
    records: list[Record] = []
    consents: list[ConsentFlag] = Field(
        default=[], description="May we, on every contact point and purpose, and which decision says so"
    )
    purpose: str = Field(default="service", examples=["service"], description="What this answer is for")
    revealed: bool = Field(default=False, examples=[False])
    data_as_of: datetime | None = Field(default=None, description="The clock of the run that published this")
    loyalty: LoyaltyCard | None = Field(default=None, description="With include=loyalty; needs loyalty:read")
    tickets: Tickets | None = Field(default=None, description="With include=tickets")
    interactions: Interactions | None = Field(default=None, description="With include=interactions")
    care: Care | None = Field(default=None, description="With include=care")
    scores: Scores | None = Field(default=None, description="With include=scores, for a purpose that may use them")


class Lookup(Model):
    """An identifier of any type, in any usual writing."""

    value: str = Field(min_length=1, max_length=320, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["07827 145546"])
    type: Kind | None = Field(default=None, examples=["phone"], description="Left out: every type it could be is tried")


class LookupWith(Lookup):
    """An identifier, and what else to answer of whoever holds it."""

    include: list[Literal["loyalty"]] = Field(default=[], max_length=10, description="`loyalty` needs loyalty:read")


class Lookups(Model):
    """Up to 1,000 identifiers at once."""

    lookups: list[Lookup] = Field(min_length=1, max_length=1000)


class Held(Model):
    """A customer that holds an identifier."""

    customer_id: str = Field(examples=[ID])
    matched: list[str] = Field(examples=[["phone"]])


class Answers(Model):
    """Who holds each of the identifiers, in the order of the question; nobody where the list is empty."""

    answers: list[list[Held]]


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
    loyalty: Points | None = Field(default=None, description="With include loyalty")


class Matches(Model):
    """Everyone who holds it; a shared phone has several."""

    customers: list[Match]
    more: bool = Field(examples=[False], description="There are more than are shown")


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
