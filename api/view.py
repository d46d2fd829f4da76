"""What an answer about a customer includes when it is asked for: points, tickets, the latest, special care; and its version."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import orjson
import psycopg

from api import present
from api.context import Caller, Context
from api.loyalty import acting
from api.problems import Forbidden
from api.schemas import Customer
from cdp.consent.fields import Visible, visible
from cdp.consent.resolve import Material
from cdp.errors import CdpError, Invalid
from cdp.loyalty import operations
from cdp.loyalty.recall import tiers
from cdp.store import customers, scores

Part = Literal["loyalty", "tickets", "interactions", "care", "scores"]
ALWAYS = {"customer_id", "requested_id", "merged_into", "purpose", "revealed", "data_as_of"}
LATEST = 20
LOOKED_BACK = 200  # sales behind the usual gap between two


class UnknownField(Invalid):
    """A field that no customer has."""


class NotSaid(CdpError):
    """A change without `If-Match`."""

    status_code = 428
    title = "If-Match missing"


class Changed(CdpError):
    """A change of what is another one now."""

    status_code = 412
    title = "Changed meanwhile"


def wanted(fields: str | None, include: Sequence[Part]) -> set[str]:
    """The members of the answer.

    Raises:
        UnknownField: If `fields` names what there is not.
    """
    parts = {"loyalty", "tickets", "interactions", "care", "scores"}
    named = set(fields.split(",")) if fields else set(Customer.model_fields) - parts
    if unknown := named - set(Customer.model_fields):
        raise UnknownField(
            f"{len(unknown)} of the fields are unknown", f"choose from {', '.join(Customer.model_fields)}"
        )
    return named | ALWAYS | set(include)


def included(
    store: psycopg.Connection, app: Context, caller: Caller, living: str, seen: Visible, known: Material, parts: set[str], *, revealed: bool
) -> dict[str, Any]:  # fmt: skip
    """The parts that are asked for; each says why it is withheld where it is."""
    made: dict[str, Any] = {}
    open_tier = caller.key.allows("loyalty:read") and not seen.reason(
        "loyalty"
    )  # else the usual deadline, and no high value
    tier = _tier(store, app, living) if open_tier and parts & {"loyalty", "tickets", "care"} else None
    if "loyalty" in parts:
        card = points(store, app, caller, living, seen)
        made["loyalty"] = card if "withheld" in card else {**card, "tier": tier}
    no_story = seen.reason("timeline")
    tickets = customers.tickets(store, living, LATEST) if parts & {"tickets", "care"} and not no_story else []
    if "tickets" in parts:
        made["tickets"] = {
            "items": [_ticket(row, app, tier, revealed=revealed) for row in tickets],
            "withheld": no_story,
        }
    if "interactions" in parts:
        rows = [] if no_story else customers.timeline(store, living, None, LATEST)
        made["interactions"] = {"items": [item(row, revealed=revealed) for row in rows], "withheld": no_story}
    if "care" in parts:
        withheld = no_story or seen.reason("loyalty")
        made["care"] = {"reasons": [] if withheld else _care(store, app, living, tier, tickets), "withheld": withheld}
    if "scores" in parts:
        made["scores"] = scored(store, living, seen.reason("scores") or no_scores(app, known))
    return made


def no_scores(app: Context, known: Material) -> str | None:
    """Why scores of this person may not be used, whoever asks: only who allows their purpose lets them be; None where they may."""
    return visible(app.policy, app.insight.purpose, ("scores",), known, app.clock()).reason("scores")


def scored(store: psycopg.Connection, living: str, withheld: str | None) -> dict[str, Any]:
    """What the last run measured of a customer; nothing but the reason where it is withheld."""
    found = None if withheld else scores.of_customers(store, [living]).get(living)
    return {**(found or {}), "withheld": withheld}


def item(row: dict[str, Any], *, revealed: bool) -> dict[str, Any]:
    """One row of a timeline as it is shown."""
    return {
        **row,
        "record_id": present.record(row["record_id"], revealed=revealed),
        "details": present.details(row["details"], revealed=revealed),
    }


def etag(pepper: str, version: str, says: Any) -> str:
    """The version of an answer about a customer: another one whenever it says something else."""
    return f'"{version}.{_keyed(pepper, says)}"'


def matches(tag: str, sent: str | None) -> bool:
    """Whether an `If-None-Match` names this version."""
    return sent is not None and any(part.strip().removeprefix("W/") in (tag, "*") for part in sent.split(","))


def _keyed(pepper: str, says: Any) -> str:
    """A keyed hash: what is masked cannot be guessed from it."""
    return hmac.new(pepper.encode(), orjson.dumps(says, default=str), hashlib.sha256).hexdigest()[:16]


def who(pepper: str, stored: dict[str, Any], members: Sequence[dict[str, Any]]) -> str:
    """The first part of a customer's ETag: another one whenever its profile or its records are others."""
    says = (stored["profile"], sorted(row["record_id"] for row in members))
    return _keyed(pepper, says)


def unchanged(pepper: str, stored: dict[str, Any], members: Sequence[dict[str, Any]], if_match: str | None) -> None:
    """Refuse to change a customer that is another one than the caller read, whatever parts of it that were.

    Raises:
        NotSaid: If no `If-Match` was sent.
        Changed: If the customer has changed.
    """
    if not if_match or not if_match.strip():
        raise NotSaid("send If-Match with the ETag of the customer that you read")
    known = {part.strip().strip('"').split(".")[0] for part in if_match.split(",")}
    if not known & {who(pepper, stored, members), "*"}:
        raise Changed("this is not the customer that you read", "read it again, then decide anew")


def _tier(store: psycopg.Connection, app: Context, living: str) -> str | None:
    return tiers(store, [living], app.programme, app.clock()).get(living)


def must_read_points(caller: Caller) -> None:
    """Refuse a key that may not read points.

    Raises:
        Forbidden: If it may not.
    """
    if not caller.key.allows("loyalty:read"):
        raise Forbidden("this key lacks the scope loyalty:read")


def points(store: psycopg.Connection, app: Context, caller: Caller, living: str, seen: Visible) -> dict[str, Any]:
    """How the customer's accounts stand.

    Raises:
        Forbidden: If the key may not read points.
    """
    must_read_points(caller)
    if reason := seen.reason("loyalty"):
        return {"withheld": reason}
    act = acting(app, caller, "read")
    return shown_points(act, operations.read(store, living, act)[1])


def shown_points(act: operations.Act, stands: operations.Standing) -> dict[str, Any]:
    """How a customer stands, as answers say it."""
    return {
        "unit": act.programme.unit, "balance": stands.balance, "available": stands.available, "balance_version": stands.version,
    }  # fmt: skip


def _ticket(row: dict[str, Any], app: Context, tier: str | None, *, revealed: bool) -> dict[str, Any]:
    waits = app.service.is_open(row["status"])
    shown = {name: row[name] for name in ("opened_at", "status", "channel", "order_id", "satisfaction")}
    due = app.service.deadline(row["opened_at"], tier) if waits else None
    record = present.record(row["record_id"], revealed=revealed)
    return {"id": f"interaction:{row['id']}", "record_id": record, **shown, "is_open": waits, "due_at": due}


def _care(
    store: psycopg.Connection, app: Context, living: str, tier: str | None, tickets: list[dict[str, Any]]
) -> list[str]:
    said = [int(row["nps"]) for row in tickets if (row["nps"] or "").isdigit()]
    rated = [row["satisfaction"] for row in tickets if row["satisfaction"]]
    ordered: list[datetime] = customers.sales(store, living, LOOKED_BACK)
    return app.service.flags(tier, ordered, said[0] if said else None, rated[0] if rated else None, app.clock())
