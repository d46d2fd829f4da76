"""From stored rows to what a caller may see."""

import re
from typing import Any

from cdp import mask

HIDDEN = {
    "birth_date": mask.text,
    "email": mask.email,
    "phone": mask.phone,
    "postal_code": mask.text,
    "city": mask.text,
}
FREE_TEXT = frozenset({"subject", "description", "text", "body", "message", "comment", "note", "notes"})
SHOWN = ("country", "language")


def profile(stored: dict[str, Any], *, revealed: bool) -> dict[str, Any]:
    """The profile's fields, masked unless revealed."""
    hide = (lambda value: value) if revealed else mask.text
    name = stored["name"]
    return {
        "name": {
            **{part: hide(name[part]) for part in ("given_name", "family_name", "full_name")},
            "record_id": record(name["record_id"], revealed=revealed),
        },
        **{field: value(stored[field], HIDDEN[field], revealed=revealed) for field in HIDDEN},
        **{field: value(stored[field], None, revealed=revealed) for field in SHOWN},
    }


def value(stored: dict[str, Any], hide: Any, *, revealed: bool) -> dict[str, Any]:
    """One value with its record."""
    shown = stored["value"] if revealed or hide is None else hide(stored["value"])
    return {"value": shown, "record_id": record(stored["record_id"], revealed=revealed)}


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
