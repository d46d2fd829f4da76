"""E-mail addresses and phone numbers in the one form in which they can be compared."""

import contextlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email

GMAIL = ("gmail.com", "googlemail.com")


@lru_cache(maxsize=200_000)
def email(raw: str) -> str | None:
    """The mailbox an address reaches, in lower case; None if it is no address.

    Gmail ignores dots; a plus tag addresses the same mailbox. The consent of a mailbox must not depend on
    how its owner spelt it, so both are folded away.
    """
    folded = unicodedata.normalize("NFKC", raw).strip().strip("<>").casefold()
    folded = folded.removeprefix("mailto:")
    try:
        checked = validate_email(folded, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        return None
    local, domain = checked.local_part, checked.domain.lower()
    local = local.split("+", 1)[0] or local
    if domain in GMAIL:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}" if local else None


@lru_cache(maxsize=200_000)
def phone(raw: str, regions: tuple[str, ...]) -> str | None:
    """The number in E.164; None if no region reads it as one.

    Args:
        raw: As typed: spaces, dashes, brackets, full-width digits, `00` or `+` in front, or a bare local number.
        regions: ISO 3166 codes in which to read a number that names no country, best guess first.
    """
    text = unicodedata.normalize("NFKC", raw).strip()
    digits = re.sub(r"\D", "", text)
    if not 7 <= len(digits) <= 15:
        return None
    if text.startswith("00") and not text.startswith("000"):
        text = "+" + digits[2:]
    possible = None
    for region in regions:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if possible is None and phonenumbers.is_possible_number(number):
            possible = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return possible


def regions_named(raw: Iterable[str]) -> tuple[str, ...]:
    """The countries of the numbers that name one (`+1 …`), most frequent first: bare numbers beside them are of these."""
    found: Counter[str] = Counter()
    for text in raw:
        if text.lstrip().startswith("+"):
            with contextlib.suppress(phonenumbers.NumberParseException):
                found[phonenumbers.region_code_for_country_code(phonenumbers.parse(text).country_code or 0)] += 1
    return tuple(sorted(found, key=lambda region: (-found[region], region)))
