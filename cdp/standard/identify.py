"""What a person typed, as identifiers to look for: the type given, or every type it could be."""

from typing import Literal, get_args

from cdp.standard import contact

Kind = Literal[
    "email",
    "phone",
    "card",
    "account",
    "browser",
    "device",
    "wechat_openid",
    "wechat_unionid",
    "order",
    "ticket",
    "record",
]
TYPES = get_args(Kind)


def candidates(kind: str | None, value: str, regions: tuple[str, ...]) -> list[tuple[str, str]]:
    """(type, value in standard form) pairs worth looking up; empty if the value cannot be of the type."""
    kinds = TYPES if kind is None else (kind,)
    pairs = [(name, _standard(name, value.strip(), regions)) for name in kinds]
    return [(name, found) for name, found in pairs if found]


def _standard(kind: str, value: str, regions: tuple[str, ...]) -> str | None:
    if kind == "email":
        return contact.email(value) if "@" in value else None
    if kind == "phone":
        return contact.phone(value, regions)
    if kind == "card":
        return "".join(value.split()) or None
    return value or None
