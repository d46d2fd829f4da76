"""What every answer about a customer begins with: whom an id stands for, what the caller may see of it, where a page begins."""

import base64
import binascii
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from api import present
from api.context import Caller, Context
from api.problems import Forbidden
from cdp.consent.fields import Visible, visible
from cdp.consent.policy import ABSOLUTE
from cdp.consent.resolve import Material
from cdp.errors import Invalid, NotFound
from cdp.store import assignment, customers


class BadCursor(Invalid):
    """A cursor that this server did not make."""


def living_customer(store: psycopg.Connection, customer_id: UUID) -> tuple[str, dict[str, Any]]:
    """The customer an id stands for today, with the published profile."""
    living = assignment.resolve(store, str(customer_id))
    stored = customers.profile(store, living) if living is not None else None
    if living is None or stored is None:
        raise NotFound("no customer has this id")
    return living, stored


def revealing(
    app: Context, store: psycopg.Connection, caller: Caller, action: str, customer_id: str, reason: str | None
) -> None:
    """Note who sees unmasked data and why, committed before it is shown."""
    if not caller.key.allows("profiles:reveal"):
        raise Forbidden("this key lacks the scope profiles:reveal")
    if not action.startswith("profile.") and not answers_the_person(app, caller):
        raise Forbidden(f"the purpose {caller.purpose} reveals fields of a profile, nothing else")
    app.trail.write(store, caller.event(action, customer_id, reason=reason))


def answers_the_person(app: Context, caller: Caller) -> bool:
    """Whether the purpose needs no consent, as service does: it may see what no single field's consent covers."""
    return app.policy.purposes[caller.purpose].basis in ABSOLUTE


def visible_fields(app: Context, caller: Caller, known: Material | None) -> Visible:
    """What this caller may read of a customer for its purpose."""
    return visible(app.policy, caller.purpose, (*present.FIELDS, "timeline", "loyalty", "scores"), known, app.clock())


def write_cursor(row: dict[str, Any]) -> str:
    """A cursor that stands for a row's time and id."""
    text = f"{row['occurred_at'].isoformat()}|{row['id']}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """The (time, id) a cursor stands for."""
    try:
        at, last = base64.urlsafe_b64decode(cursor.encode()).decode().split("|", 1)
        if "\x00" in last:
            raise ValueError("not a cursor")
        return datetime.fromisoformat(at), last
    except (ValueError, binascii.Error) as error:
        raise BadCursor("this cursor was not made by this endpoint") from error
