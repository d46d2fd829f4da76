"""What the identity endpoints say and hear."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import ID, Model, Name

REF = "3f0c9e1f4f0b7a65c2d1e0aa"
Text = Field(default=None, max_length=320, pattern=r"^[^\x00-\x1f\x7f]*$")


class Asked(BaseModel):
    """A request; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Person(Asked):
    """What is known of a person; everything is optional, but something must be said."""

    given_name: str | None = Text
    family_name: str | None = Text
    full_name: str | None = Text
    birth_date: str | None = Text
    email: str | None = Text
    phone: str | None = Text
    postal_code: str | None = Text
    city: str | None = Text
    card: str | None = Text
    account: str | None = Text


class Reason(Model):
    """What one field says: `weight` is log2 of how much likelier one person makes it."""

    field: str = Field(examples=["first"])
    says: str = Field(examples=["a short form of it"])
    weight: float = Field(examples=[4.4])


class Candidate(Model):
    """A customer that may be the person."""

    customer_id: str = Field(examples=[ID])
    tier: Literal["exact", "strong", "possible"]
    weight: float | None = Field(description="Match weight (log2 odds); null where only identifiers speak")
    identifiers: list[str] = Field(examples=[["phone"]])
    reasons: list[Reason]
    name: Name


class Resolution(Model):
    """The surest first. `decision`: attach only on `exact`; anything else needs a person or stays apart."""

    decision: Literal["exact", "strong", "possible", "none"]
    model_version: str | None
    candidates: list[Candidate]


class Merge(Asked):
    """Customers that are one person."""

    customer_ids: list[UUID] = Field(min_length=2, max_length=20)
    reason: str = Field(min_length=1, max_length=500, examples=["same person, asked on the phone"])


class Split(Asked):
    """Records (by reference) that are somebody else's."""

    records: list[str] = Field(min_length=1, max_length=2000, examples=[[REF]])
    reason: str = Field(min_length=1, max_length=500)


class Side(Model):
    """One customer as it would be after a split."""

    customer_id: str | None = Field(examples=[ID], description="None: it gets its id when it is done")
    balance: int = Field(examples=[120])
    available: int = Field(examples=[120])
    held: int = Field(examples=[0])


class SpentTogether(Model):
    """A transaction that drew from both while they were one; it stays where it was drawn."""

    transaction_id: str
    kind: str = Field(examples=["redeem"])
    occurred_at: datetime
    stays: int = Field(examples=[-30])
    leaves: int = Field(examples=[-50])


class SplitShown(Model):
    """What a split would do to points. No point is lost: the balances of both sum to that before."""

    balance_before: int = Field(examples=[140])
    stays: Side
    leaves: Side
    spent_together: list[SpentTogether]


class Correction(Asked):
    """What is corrected; what is left out stays. A name is corrected as a whole."""

    given_name: str | None = Text
    family_name: str | None = Text
    email: str | None = Text
    phone: str | None = Text
    postal_code: str | None = Text
    city: str | None = Text
    reason: str = Field(min_length=1, max_length=200, examples=["said on the phone"], description="No personal data")


class Undo(Asked):
    """Why a change set is taken back."""

    reason: str = Field(min_length=1, max_length=500)


class Changed(Model):
    """What an act did; `changeset_id` undoes it."""

    changeset_id: UUID
    customers: list[str] = Field(description="The customers concerned that live now", examples=[[ID]])
    moved: int
    left_alone: int = Field(default=0, description="Records that had moved on meanwhile and stay where they are")


class StepOut(Model):
    """One step of the merge tree."""

    left: str = Field(examples=["pos:card:•••0926"])
    right: str
    left_ref: str = Field(examples=[REF])
    right_ref: str
    evidence: str = Field(examples=["the same phone"])
    kind: Literal["exact", "rule", "probabilistic", "steward"]
    weight: float
    left_size: int
    right_size: int
    reasons: list[Reason]
    without: list[int] = Field(
        description="Sizes of the groups that would remain without this one edge", examples=[[3, 2]]
    )
    confirmed_by: str | None = Field(
        None, description="Who said that these two records are one person", examples=["user:mei"]
    )


class Explanation(Model):
    """How a customer was assembled: strongest evidence first, each step with what would be without it."""

    customer_id: str = Field(examples=[ID])
    records: list[dict[str, Any]]
    steps: list[StepOut]
    model_version: str | None


class PairAsked(Asked):
    """Two records, or two customers: why are they one, or why not."""

    left: str = Field(max_length=400, description="A customer id, a record id or a reference")
    right: str = Field(max_length=400)


class PairOut(Model):
    """Why, or why not."""

    together: bool
    weight: float | None
    threshold: float | None
    reasons: list[str]
    fields: list[Reason]


class WhatIf(Asked):
    """An identifier, as if nobody had ever given it."""

    type: Literal["email", "phone", "card", "browser", "order", "wechat_openid", "wechat_unionid"]
    value: str = Field(min_length=1, max_length=320)


class Groups(Model):
    """The groups that would remain, as references of records."""

    groups: list[list[str]]
    sizes: list[int]


class ReviewPair(Model):
    """A borderline pair: who, how sure, what a decision would move."""

    pair_id: str = Field(examples=[REF])
    weight: float
    impact: float
    left: str
    right: str
    details: dict[str, Any]


class ReviewPairs(Model):
    """Those first that would move most."""

    pairs: list[ReviewPair]
    waiting: int


class Decide(Asked):
    """A steward's word on a pair."""

    pair_id: str = Field(max_length=64)
    verdict: Literal["same", "different", "unsure"]
    reason: str = Field(min_length=1, max_length=500)


class Decided(Changed):
    """`same` holds at once; `different` and `unsure` from the next run on."""

    effective: Literal["now", "next run"]
    at: datetime
