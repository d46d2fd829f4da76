"""Consent, unsubscribe links, audiences and privacy requests as the API says and hears them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.schemas import ID, ConsentFlag, Model, Moment

POINT = Field(
    default=None, max_length=320, examples=["ann@example.org"], description="E-mail or phone in any usual writing"
)


class Decide(Model):
    """What a person said about one purpose."""

    purpose: str = Field(max_length=60, examples=["email_marketing"])
    status: Literal["granted", "denied", "withdrawn", "pending"] = Field(examples=["granted"])
    contact_point: str | None = POINT
    captured_at: Moment | None = Field(default=None, description="When the person acted; now where left out")
    method: str = Field(default="api", max_length=60, examples=["preference_centre"])
    notice_version: str | None = Field(default=None, max_length=60, examples=["2026-02"])
    basis: Literal[
        "consent", "contract", "legal_obligation", "vital_interest", "public_task", "legitimate_interest"
    ] = "consent"
    expires_at: Moment | None = None
    confirmed_at: Moment | None = Field(default=None, description="When a double opt-in was confirmed")
    separate_consent: str | None = Field(default=None, max_length=60, examples=["providing_to_another_handler"])
    evidence: dict[str, str] | None = Field(default=None, max_length=20, examples=[{"form": "newsletter-7"}])


class Withdraw(Model):
    """A withdrawal takes no more than this."""

    purpose: str = Field(max_length=60, examples=["email_marketing"])
    contact_point: str | None = POINT
    method: str = Field(default="api", max_length=60)


class Recorded(Model):
    """What was recorded, and what holds now."""

    customer_id: str = Field(examples=[ID])
    decisions: list[str] = Field(description="Ids of the decisions added; empty where they stood already")
    consents: list[ConsentFlag]


class LinkAsked(Model):
    """For which purpose and address a one-click unsubscribe link is wanted."""

    purpose: str = Field(max_length=60, examples=["email_marketing"])
    contact_point: str = Field(max_length=320, examples=["ann@example.org"])


class Link(Model):
    """The headers of RFC 8058 for a message to that address. The link holds no personal data."""

    path: str = Field(examples=["/v1/unsubscribe/4d1f…"])
    list_unsubscribe: str = Field(examples=["<https://cdp.example/v1/unsubscribe/4d1f…>"])
    list_unsubscribe_post: str = Field(examples=["List-Unsubscribe=One-Click"])


class Member(Model):
    """A customer who may be reached for the purpose, with the contact points that may be used."""

    customer_id: str = Field(examples=[ID])
    contact_points: list[str] = Field(
        examples=[["ann@example.org"]], description="Unmasked only for keys that may reveal"
    )
    fields: dict[str, str | None] = Field(examples=[{"country": "GB"}])


class Audience(Model):
    """A page of those who may be reached; consent is computed for this answer."""

    purpose: str = Field(examples=["email_marketing"])
    members: list[Member]
    withheld: dict[str, int] = Field(
        examples=[{"withdrawn_by_email": 12}], description="Customers of this page left out, by reason"
    )
    next: str | None


class AudienceInfo(Model):
    """An audience."""

    audience: str = Field(examples=["newsletter"])
    purpose: str = Field(examples=["email_marketing"], description="What its members may be used for")
    members: int = Field(examples=[1204], description="As they were told last, by audience.entered and audience.left")


class Ask(Model):
    """A privacy request of a person."""

    kind: Literal["access", "portability", "rectification", "restriction", "objection", "erasure"]
    customer_id: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", examples=[ID])
    purpose: str | None = Field(
        default=None, max_length=60, description="Of an objection: what is objected to; all marketing where left out"
    )
    note: str | None = Field(default=None, max_length=500, description="For the officer; no personal data")


class Proof(Model):
    """How the person proved who they are; never the proof itself."""

    method: Literal["signed_in", "document_seen", "called_back", "code_sent", "in_person"]


class Why(Model):
    """A reason in words; no personal data."""

    reason: str = Field(min_length=3, max_length=200)


class StepDone(Model):
    """What a person reports of one system."""

    status: Literal["done", "failed", "skipped"]
    reason: str | None = Field(default=None, max_length=200)


class Step(Model):
    """How far one system is."""

    system: str = Field(examples=["lake"])
    status: Literal["pending", "running", "done", "failed", "skipped"]
    at: datetime
    details: dict[str, Any]


class Request(Model):
    """A privacy request with its deadline and how far each system is."""

    request_id: str
    kind: str = Field(examples=["access"])
    customer_id: str = Field(examples=[ID])
    status: Literal["received", "verified", "running", "done", "refused", "failed"]
    jurisdiction: str = Field(examples=["gdpr"])
    received_at: datetime
    due_at: datetime
    overdue: bool
    extended_reason: str | None
    proof: str | None = Field(examples=["signed_in"])
    verified_at: datetime | None
    finished_at: datetime | None
    outcome: str | None
    steps: list[Step]


class Requests(Model):
    """Requests, those due first before the finished ones."""

    requests: list[Request]
