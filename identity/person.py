"""One person as somebody describes them, in the columns that the model compares."""

from dataclasses import dataclass
from typing import Any

from cdp.standard import contact, dates, names, place
from cdp.standard.words import telling, words


@dataclass(frozen=True)
class Described:
    """What a caller says of a person; everything is optional."""

    given_name: str | None = None
    family_name: str | None = None
    full_name: str | None = None
    birth_date: str | None = None
    email: str | None = None
    phone: str | None = None
    postal_code: str | None = None
    city: str | None = None


def values(person: Described, regions: tuple[str, ...]) -> dict[str, Any]:
    """The columns of `core__payloads`, from what was said; read exactly as the pipeline reads a source."""
    name = names.name(person.given_name, person.family_name, person.full_name)
    word = words(name.given_key, name.family_key)
    date = dates.date_text(person.birth_date)
    full, year = dates.parts(date)
    email = contact.email(person.email) if person.email else None
    user = email.split("@")[0] if email else None
    code = place.postal_code(person.postal_code)
    return {
        "given_key": name.given_key, "family_key": name.family_key, "is_full_name": name.is_full,
        **vars(word),
        "birth_date": date, "birth_full": full, "birth_year": year,
        "email": email, "email_user": user, "email_local": telling(user, word.first, word.family),
        "phone": contact.phone(person.phone, regions) if person.phone else None,
        "postal_code": code, "district": place.district(code),
        "city": (names.key(person.city.lower()) or "")[:80] or None if person.city else None,
    }  # fmt: skip
