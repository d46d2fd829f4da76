"""The words of the console in three languages, and how dates, money and numbers are written in each.

English stands in the templates. `zh_Hans.po` holds the simplified Chinese; traditional Chinese follows from it by OpenCC
with the phrases of Taiwan, so that one catalogue is kept.
"""

import gettext
import io
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path

from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal
from opencc import OpenCC

CATALOGUE = Path(__file__).parent / "words" / "zh_Hans.po"
NAMES = {"en": "English", "zh_Hans": "简体中文", "zh_Hant": "繁體中文"}
_TRADITIONAL = OpenCC("s2twp")


@lru_cache
def translations(language: str) -> gettext.NullTranslations:
    """The catalogue of a language; English needs none."""
    if language not in NAMES or language == "en":
        return gettext.NullTranslations()
    with CATALOGUE.open("rb") as file:
        catalogue = read_po(file, locale="zh_Hans")
    if language == "zh_Hant":
        for message in catalogue:
            if message.id and isinstance(message.string, str):
                message.string = _TRADITIONAL.convert(message.string)
            elif message.id and message.string:
                message.string = tuple(_TRADITIONAL.convert(part) for part in message.string)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def preferred(accepted: str) -> str:
    """The language of an `Accept-Language` header, for people who have not signed in."""
    for part in accepted.split(","):
        tag = part.split(";")[0].strip().lower()
        if tag.startswith("zh"):
            return "zh_Hant" if any(place in tag for place in ("hant", "tw", "hk", "mo")) else "zh_Hans"
        if tag.startswith("en"):
            return "en"
    return "en"


def moment(at: datetime | str | None, language: str) -> str:
    """A time in UTC, as the language writes it."""
    if not at:
        return "–"
    return str(format_datetime(_time(at), "medium", locale=language)).replace("\u202f", " ")


def day(at: datetime | str | None, language: str) -> str:
    """A date, as the language writes it."""
    return str(format_date(_time(at), "medium", locale=language)) if at else "–"


def money(amount: str | Decimal | float | None, currency: str, language: str) -> str:
    """An amount in its own currency; what is no number stands as it is."""
    try:
        return str(format_currency(Decimal(str(amount)), currency, locale=language))
    except (InvalidOperation, ValueError):
        return f"{amount} {currency}"


def number(value: float | Decimal | None, language: str) -> str:
    """A number with the language's separators."""
    return "–" if value is None else str(format_decimal(value, locale=language))


def units(parts: int | None, scale: int, language: str) -> str:
    """An amount of points as people say it: the ledger counts in smallest parts."""
    return number(None if parts is None else Decimal(parts).scaleb(-scale), language)


def _time(at: datetime | str) -> datetime:
    return at if isinstance(at, datetime) else datetime.fromisoformat(at)
