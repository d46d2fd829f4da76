"""Postcodes and places in a form in which they can be compared."""

import re
import unicodedata

UK = re.compile(r"[a-z]{1,2}\d[a-z\d]?\d[a-z]{2}")


def postal_code(raw: str | None) -> str | None:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[^0-9a-z]", "", unicodedata.normalize("NFKC", raw or "").lower()) or None


def district(code: str | None) -> str | None:
    """The larger area a postcode lies in: the outward code of a British one, else its first three characters."""
    if code is None:
        return None
    return code[:-3] if UK.fullmatch(code) else code[:3]
