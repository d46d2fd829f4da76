"""Velocity: what no customer does by hand is refused until a person has looked. Counted under the customer's lock."""

from datetime import datetime, timedelta

import psycopg

from cdp.errors import CdpError
from cdp.loyalty.programme import Programme
from cdp.store import books, holds

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class TooFast(CdpError):
    """More than a customer does by hand."""

    status_code = 429
    title = "Velocity limit"


def spending(
    store: psycopg.Connection, accounts: list[str], records: list[str], amount: int, programme: Programme, now: datetime
) -> None:
    """Look at what channels spent of these accounts lately, before they spend again.

    Args:
        store: In a transaction that holds the customer.
        accounts: All of the customer's, in the unit.
        records: All of the customer's: what is set aside counts as spent.
        amount: What is to be spent.
        programme: Its `guards`.
        now: The moment.

    Raises:
        TooFast: If it would be too often or too much.
    """
    limits, named = programme.guards, (programme.programme, programme.unit)
    if limits.redemptions_per_hour is not None:
        times = (
            books.lately(store, accounts, "redeem", now, HOUR)[0] + holds.lately(store, records, *named, now, HOUR)[0]
        )
        if times >= limits.redemptions_per_hour:
            raise TooFast(f"{times} redemptions within an hour", "let a person look: an adjustment is not limited")
    if limits.units_per_day is not None:
        units = holds.lately(store, records, *named, now, DAY)[1] - books.lately(store, accounts, "redeem", now, DAY)[1]
        allowed = programme.parts(limits.units_per_day)
        if amount + units > allowed:
            raise TooFast(
                f"{units} spent within a day, {allowed} are allowed", "let a person look: an adjustment is not limited"
            )


def earning(store: psycopg.Connection, accounts: list[str], programme: Programme, now: datetime) -> None:
    """Look at how many sales channels posted lately for these accounts.

    Raises:
        TooFast: If there are too many; their files still earn.
    """
    limit = programme.guards.earnings_per_day
    if limit is not None:
        times, _ = books.lately(store, accounts, "earn", now, DAY)
        if times >= limit:
            raise TooFast(f"{times} sales posted within a day", "the source's files still earn: let a person look")
