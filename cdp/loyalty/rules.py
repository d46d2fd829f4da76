"""Orders and what their returns take back and give back: pure functions of order lines and points."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from math import lcm

from cdp.loyalty.programme import Programme


@dataclass(frozen=True)
class Line:
    """An order line; `amount` in the order's currency, negative for what came back."""

    line_no: int
    sku: str
    quantity: int
    amount: Decimal


@dataclass(frozen=True)
class Earned:
    """Points of an order, and how they lie on its lines.

    Attributes:
        points: In the unit's smallest part.
        eligible: The money that earned.
        by_rule: What each rule gave.
    """

    points: int
    by_line: dict[int, int]
    eligible: Decimal
    by_rule: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Return:
    """A return that names this order."""

    order_id: str
    occurred_at: datetime
    lines: tuple[Line, ...]


def allocate(points: int, shares: Mapping[int, Decimal | Fraction | int]) -> dict[int, int]:
    """Divide points in proportion to shares by largest remainder; the parts always sum to the whole.

    Ties go to the smaller key. Without any share there is nothing to divide over.
    """
    # in whole numbers: the same parts as fractions give, many times as fast
    ratios = {key: share.as_integer_ratio() for key, share in shares.items()}
    common = lcm(*(below for _, below in ratios.values()))
    weights = {key: above * (common // below) for key, (above, below) in ratios.items()}
    total = sum(weights.values())
    if total <= 0:
        return {}
    floor = {key: _towards_zero(points * weight, total) for key, weight in weights.items()}
    left = points - sum(floor.values())
    for key in sorted(weights, key=lambda key: (floor[key] * total - points * weights[key], key))[:left]:
        floor[key] += 1
    return floor


def _towards_zero(above: int, below: int) -> int:
    return above // below if above >= 0 else -(-above // below)


def clawbacks(sale: Iterable[Line], earned: Earned, returns: Iterable[Return], programme: Programme) -> dict[str, int]:
    """Points that each return takes back, in order of time.

    A returned article takes back the points of its line in proportion to the units returned so far (rounded down;
    the last unit takes the rest). What matches no line, or exceeds what was bought, takes back at the order's
    rate. All returns together never take back more than was earned.
    """
    excluded = programme.excluded
    bought = [line for line in sale if line.quantity > 0]
    returned = {line.line_no: 0 for line in bought}
    left = earned.points
    result: dict[str, int] = {}
    for item in sorted(returns, key=lambda r: (r.occurred_at, r.order_id)):
        taken, loose = 0, Decimal(0)
        for line in sorted(item.lines, key=lambda line: line.line_no):
            units, value = abs(line.quantity), abs(line.amount)
            price = value / units if units else Decimal(0)
            for original in (b for b in bought if b.sku == line.sku):
                before = returned[original.line_no]
                now = min(units, original.quantity - before)
                points = earned.by_line.get(original.line_no, 0)
                taken += points * (before + now) // original.quantity - points * before // original.quantity
                returned[original.line_no] = before + now
                units -= now
            if units and line.sku.upper() not in excluded:
                loose += price * units
        if loose and earned.eligible > 0:
            taken += int((loose * earned.points / earned.eligible).to_integral_value(ROUND_FLOOR))
        result[item.order_id] = min(taken, left)
        left -= result[item.order_id]
    return result


def given_back(points: int, sale: Iterable[Line], returns: Iterable[Return]) -> dict[str, int]:
    """Points spent on an order that each of its returns gives back, in order of time.

    In proportion to the value returned so far, rounded down; once all that was paid for has come back, the rest.
    """
    paid = sum((line.amount for line in sale), Decimal(0))
    came_back, given = Decimal(0), 0
    result: dict[str, int] = {}
    for item in sorted(returns, key=lambda r: (r.occurred_at, r.order_id)):
        came_back += abs(sum((line.amount for line in item.lines), Decimal(0)))  # less the discount that goes with it
        whole = came_back >= paid
        due = points if whole else int((points * came_back / paid).to_integral_value(ROUND_FLOOR))
        result[item.order_id] = due - given
        given = due
    return result
