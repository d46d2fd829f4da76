"""From stored rows to what a caller may see."""

import re
from datetime import datetime
from typing import Any

from cdp import mask
from cdp.consent.fields import Visible
from cdp.consent.flags import customer_flags
from cdp.consent.policy import Policy
from cdp.consent.resolve import Decision, Material

HIDDEN = {
    "birth_date": mask.text,
    "email": mask.email,
    "phone": mask.phone,
    "postal_code": mask.text,
    "city": mask.text,
}
FREE_TEXT = frozenset({"subject", "description", "text", "body", "message", "comment", "note", "notes"})
SHOWN = ("country", "language")


NOTHING_WITHHELD = Visible("", {})
FIELDS = ("name", *HIDDEN, *SHOWN)


def profile(stored: dict[str, Any], visible: Visible = NOTHING_WITHHELD, *, revealed: bool) -> dict[str, Any]:
    """The profile's fields, masked unless revealed; those that the purpose may not see withheld with the reason."""
    return {
        "name": _name(stored["name"], visible.reason("name"), revealed=revealed),
        **{
            field: value(
                stored[field], HIDDEN.get(field), visible.reason(field, stored[field]["value"]), revealed=revealed
            )
            for field in (*HIDDEN, *SHOWN)
        },
    }


def _name(stored: dict[str, Any], withheld: str | None, *, revealed: bool) -> dict[str, Any]:
    parts = ("given_name", "family_name", "full_name")
    if withheld:
        return {**dict.fromkeys((*parts, "record_id")), "withheld": withheld}
    hide = (lambda value: value) if revealed else mask.name
    return {**{part: hide(stored[part]) for part in parts}, "record_id": record(stored["record_id"], revealed=revealed)}


def value(stored: dict[str, Any], hide: Any, withheld: str | None = None, *, revealed: bool) -> dict[str, Any]:
    """One value with its record."""
    if withheld:
        return {"value": None, "record_id": None, "withheld": withheld}
    shown = stored["value"] if revealed or hide is None else hide(stored["value"])
    return {"value": shown, "record_id": record(stored["record_id"], revealed=revealed)}


def flags(known: Material, policy: Policy, now: datetime, *, revealed: bool) -> list[dict[str, Any]]:
    """Every consent flag of a customer with the decision that decides."""
    by_id = {decision.decision_id: decision for decision in known.decisions}
    return [
        {
            **vars(flag),
            "contact_point": point(flag.contact_point, revealed=revealed),
            "conflicting": list(flag.conflicting),
            "decided": _deciding(by_id.get(flag.decided_by or ""), revealed=revealed),
        }
        for flag in customer_flags(known, policy, now)
    ]


def _deciding(decision: Decision | None, *, revealed: bool) -> dict[str, Any] | None:
    if decision is None:
        return None
    shown = {name: getattr(decision, name) for name in ("source", "method", "captured_at", "received_at")}
    return {"record_id": record(decision.record_id, revealed=revealed), **shown}


def record(record_id: str | None, *, revealed: bool) -> str | None:
    """A record id; a card's number is personal and is masked in it."""
    if record_id is None or revealed:
        return record_id
    source, kind, key = record_id.split(":", 2)
    return f"{source}:{kind}:{_key(kind, key)}"


def _key(kind: str, key: str) -> str:
    """A record's key; a source may use an e-mail or a phone for one."""
    if "@" in key:
        return mask.email(key) or ""
    return mask.phone(key) or "" if re.fullmatch(r"\+\d{9,}", key) else mask.identifier(kind, key)


def details(stored: dict[str, Any], *, revealed: bool) -> dict[str, Any]:
    """What an interaction carries; free text is withheld unless revealed, because people write names and numbers."""
    inner = stored.get("details")
    if revealed or not isinstance(inner, dict):
        return stored
    return {
        **stored,
        "details": {name: None if name in FREE_TEXT else found for name, found in inner.items()},
        "withheld": sorted(FREE_TEXT & {n for n, v in inner.items() if v}),
    }


def point(contact_point: str | None, *, revealed: bool) -> str | None:
    """A contact point of a consent flag."""
    if contact_point is None or revealed:
        return contact_point
    return mask.email(contact_point) if "@" in contact_point else mask.phone(contact_point)
