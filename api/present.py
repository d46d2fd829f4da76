"""From stored rows to what a caller may see."""

from typing import Any

from cdp import mask

HIDDEN = {
    "birth_date": mask.text,
    "email": mask.email,
    "phone": mask.phone,
    "postal_code": mask.text,
    "city": mask.text,
}
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
    return f"{source}:{kind}:{mask.identifier(kind, key)}"


def point(contact_point: str | None, *, revealed: bool) -> str | None:
    """A contact point of a consent flag."""
    if contact_point is None or revealed:
        return contact_point
    return mask.email(contact_point) if "@" in contact_point else mask.phone(contact_point)
