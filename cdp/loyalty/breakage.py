"""What units that nobody will spend are worth: the redemption curve, and revenue as IFRS 15 allocates it. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal


def curve(ages: Iterable[tuple[int, int, int]]) -> list[tuple[int, float, int]]:
    """The share of units that is spent by each age, by Kaplan and Meier's product limit.

    What is still open is censored at its age; what ended or was taken back leaves without having been spent: it is
    looked at as never spent from then on, so the curve is of units that are still there to spend.

    Args:
        ages: (days since earned, units spent at that age, units that left or are open at that age).

    Returns:
        (age, share spent by then, units that were still there just before), the ages at which units were spent.
    """
    spent, left = defaultdict[int, int](int), defaultdict[int, int](int)
    for age, redeemed, gone in ages:
        spent[max(0, age)] += redeemed
        left[max(0, age)] += gone
    there, kept, found = sum(spent.values()) + sum(left.values()), 1.0, []
    for age in sorted({*spent, *left}):
        if spent[age] and there:
            kept *= 1 - spent[age] / there
            found.append((age, 1 - kept, there))
        there -= spent[age] + left[age]
    return found


@dataclass(frozen=True)
class Period:
    """One reporting period.

    Attributes:
        redeemed: Points redeemed so far, all periods together.
        expected: Points that are expected to be redeemed in all, as estimated at the end of the period.
    """

    redeemed: Decimal
    expected: Decimal


@dataclass(frozen=True)
class Recognised:
    """What a period shows: revenue from points, and what is still owed at its end."""

    revenue: Decimal
    liability: Decimal


def allocate(sales: Decimal, points_value: Decimal) -> tuple[Decimal, Decimal]:
    """Divide a price between goods and points by their stand-alone prices (IFRS 15.74), to whole units.

    Args:
        sales: What customers paid, which is also the stand-alone price of the goods.
        points_value: Stand-alone price of the points: points × value × likelihood of redemption (IFRS 15.B42).
    """
    goods = (sales * sales / (sales + points_value)).quantize(Decimal(1), ROUND_HALF_UP)
    return goods, sales - goods


def recognise(points: Decimal, periods: Sequence[Period]) -> list[Recognised]:
    """Revenue of each period from what was allocated to points, by points redeemed of those expected (IFRS 15 IE52).

    A new estimate changes what is recognised from then on; what was recognised stays.
    """
    found, done = [], Decimal(0)
    for period in periods:
        share = min(Decimal(1), period.redeemed / period.expected) if period.expected else Decimal(1)
        due = (points * share).quantize(Decimal(1), ROUND_HALF_UP)
        found.append(Recognised(due - done, points - due))
        done = due
    return found
