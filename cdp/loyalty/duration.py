"""ISO 8601 durations with calendar months: `P30D`, `P1M`, `P1Y6M`, `PT30M`."""

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer

ISO = re.compile(
    r"^P(?:(?P<years>\d{1,3})Y)?(?:(?P<months>\d{1,4})M)?(?:(?P<weeks>\d{1,4})W)?(?:(?P<days>\d{1,5})D)?"
    r"(?:T(?:(?P<hours>\d{1,4})H)?(?:(?P<minutes>\d{1,5})M)?)?$"
)


@dataclass(frozen=True)
class Span:
    """Calendar months and a fixed rest."""

    text: str
    months: int
    rest: timedelta

    def after(self, at: datetime, zone: ZoneInfo) -> datetime:
        """The moment so much later; months keep the local day and hour, or take the month's last day."""
        local = at.astimezone(zone)
        number = local.year * 12 + local.month - 1 + self.months
        year, month = divmod(number, 12)
        day = min(local.day, calendar.monthrange(year, month + 1)[1])
        moved = local.replace(year=year, month=month + 1, day=day) if self.months else local
        # days are calendar days too: the wall clock stays where summer time begins or ends
        days = timedelta(days=self.rest.days)
        return (moved + days).astimezone(at.tzinfo) + (self.rest - days)

    def __bool__(self) -> bool:
        return bool(self.months or self.rest)


def parse(text: object) -> Span:
    """A duration from its text.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(text, Span):
        return text
    found = ISO.match(text) if isinstance(text, str) else None
    if found is None or text in ("P", "PT") or str(text).endswith("T"):
        raise ValueError("expected an ISO 8601 duration such as P30D, P6M, P1Y or PT30M")
    part = {name: int(value or 0) for name, value in found.groupdict().items()}
    rest = timedelta(weeks=part["weeks"], days=part["days"], hours=part["hours"], minutes=part["minutes"])
    return Span(str(text), part["years"] * 12 + part["months"], rest)


Duration = Annotated[Span, BeforeValidator(parse), PlainSerializer(lambda span: span.text, return_type=str)]


def end_of(at: datetime, unit: str, zone: ZoneInfo) -> datetime:
    """The first moment after the local day, month or year that holds `at`; `none`: `at` itself."""
    local = at.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "day":
        return parse("P1D").after(midnight, zone).astimezone(at.tzinfo)
    if unit == "month":
        return parse("P1M").after(midnight.replace(day=1), zone).astimezone(at.tzinfo)
    if unit == "year":
        return midnight.replace(year=local.year + 1, month=1, day=1).astimezone(at.tzinfo)
    return at
