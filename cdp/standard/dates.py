"""Dates as people type them, in one text form (`YYYY-MM-DD`), impossible ones included: a slip is still evidence."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from cdp.standard.letters import plain

Order = Literal["ymd", "dmy", "mdy"]
YEAR_FIRST = re.compile(r"(\d{4})\D{0,2}(\d{1,2})\D{0,2}(\d{1,2})(?!\d)")
YEAR_LAST = re.compile(r"(\d{1,2})\D{1,2}(\d{1,2})\D{1,2}(\d{4})")
SHORT = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{2})(?!\d)")  # 02/03/85
NAMED_SHORT = re.compile(r"(\d{1,2})[-/. ]([a-z]{3})[a-z]*[-/. ](\d{2})(?!\d)", re.I)  # 12-Mar-85
YOUNGEST = 15  # two digits of a year up to this are of this century: younger people are rarely customers
SERIAL = re.compile(r"[1-4]\d{4}")  # 1927 to 2036
SLIPS = 0.05  # of the dates that show their order: as many may be typed wrong
SPREADSHEET = date(1899, 12, 30)  # its day 0
COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
NAMED = re.compile(r"(?:(\d{1,2})\W*([a-z]{3})[a-z]*|([a-z]{3})[a-z]*\W*(\d{1,2}))\W*(\d{4})", re.I)
MONTHS = {
    m: n for n, m in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
MONTHS |= {  # German, Spanish, Portuguese, Italian and French where they begin otherwise
    "mrz": 3, "mai": 5, "okt": 10, "dez": 12, "ene": 1, "abr": 4, "ago": 8, "dic": 12, "fev": 2, "out": 10, "set": 9, "gen": 1, "mag": 5,
    "giu": 6, "lug": 7, "ott": 10, "avr": 4, "aou": 8,
}  # fmt: skip
FRENCH = {"juin": "jun", "juillet": "jul"}
MINGUO = re.compile(
    r"(?:民[国國]\s*(\d{1,3})|(0\d{2}|1[0-3]\d))\D{1,2}(\d{1,2})\D{1,2}(\d{1,2})"
)  # Taiwan counts from 1912


@dataclass(frozen=True)
class Writing:
    """How a column writes its dates.

    Attributes:
        day_first: A date that ends in the year starts with the day.
        both: Some start with the one, some with the other: what can only be read in one way is read so.
        serial: Days since the end of 1899, as a spreadsheet counts them.
    """

    day_first: bool = True
    both: bool = False
    serial: bool = False


USUAL = Writing()


def writing(values: Iterable[str]) -> Writing:
    """How these dates are written: with the day first unless more of them can only start with the month; a few are slips."""
    day, month, serial, count = 0, 0, 0, 0
    for value in values:
        count += 1
        serial += bool(SERIAL.fullmatch(value.strip()))
        if found := YEAR_LAST.search(value) or SHORT.match(value):
            day += int(found[1]) > 12 >= int(found[2])
            month += int(found[2]) > 12 >= int(found[1])
    return Writing(day >= month, min(day, month) > SLIPS * (day + month), serial > count / 2)


def date_text(raw: str | None, how: Writing = USUAL) -> str | None:
    """`YYYY-MM-DD` of a typed date, None where no year is found. A bare year becomes its 1 January.

    Args:
        raw: `1985-03-02`, `19850302`, `2/3/1985`, `2 Mar 1985`, `1985年3月2日`, `1985`, `2/3/85`; a time behind it is cut off.
        how: How its column writes dates (see `writing`).
    """
    text = unicodedata.normalize("NFKC", raw or "").strip()
    if not text.isascii():
        text = "".join(str(unicodedata.digit(letter, letter)) for letter in text)
    if how.serial and SERIAL.fullmatch(text):
        return (SPREADSHEET + timedelta(days=int(text))).isoformat()
    if found := MINGUO.match(text):
        return _iso(int(found[1] or found[2]) + 1911, found[3], found[4])
    if found := NAMED.search(_spelt(text)):
        month = MONTHS.get((found[2] or found[3]).lower())
        if month:
            return _iso(found[5], month, found[1] or found[4])
    if found := NAMED_SHORT.search(text):
        month = MONTHS.get(found[2].lower())
        if month:
            return _iso(_century(found[3]), month, found[1])
    if found := COMPACT.match(text) or YEAR_FIRST.match(text):
        return _iso(*found.groups())
    if found := YEAR_LAST.search(text):
        first, second, year = found.groups()
        return _iso(year, *_month_and_day(first, second, how))
    if found := SHORT.match(text):
        first, second, year = found.groups()
        if int(first) > 31:
            return _iso(_century(first), second, year)
        return _iso(_century(year), *_month_and_day(first, second, how))
    return f"{text}-01-01" if re.fullmatch(r"\d{4}", text) else None


def parts(date: str | None) -> tuple[str | None, str | None]:
    """(the date unless it is a 1 January, its year): 1 January stands for an unknown day."""
    if date is None:
        return None, None
    return None if date.endswith("-01-01") else date, date[:4]


def _spelt(text: str) -> str:
    """With months in plain letters; most dates have none."""
    if not any(map(str.isalpha, text)):
        return text
    return re.sub(r"\bdel?\b|\bjui(?:n|llet)\b", lambda word: FRENCH.get(word[0], " "), plain(text))


def _month_and_day(first: str, second: str, how: Writing) -> tuple[str, str]:
    """In that order."""
    day, month = (first, second) if how.day_first else (second, first)
    return (day, month) if how.both and int(month) > 12 >= int(day) else (month, day)


def _century(year: str) -> int:
    return int(year) + (2000 if int(year) <= YOUNGEST else 1900)


def _iso(year: str | int, month: str | int, day: str | int) -> str:
    return f"{int(year):04d}-{int(month):02d}-{int(day):02d}"
