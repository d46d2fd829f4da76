"""What an order earns and what its returns take back: pure functions of order lines and programme."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction

from cdp.loyalty.programme import Programme, Tier


@dataclass(frozen=True)
class Line:
    """An order line; `amount` in the order's currency, negative for what came back."""

    line_no: int
    sku: str
    quantity: int
    amount: Decimal


@dataclass(frozen=True)
class Earned:
    """Points of an order, and how they lie on its lines."""

    points: int
    by_line: dict[int, int]
    eligible: Decimal


@dataclass(frozen=True)
class Return:
    """A return that names this order."""

    order_id: str
    occurred_at: datetime
    lines: tuple[Line, ...]


def earn(lines: Iterable[Line], programme: Programme) -> Earned:
    """Points of a sale: the eligible amount times the rate, rounded down once, laid on its lines by largest remainder."""
    eligible = [line for line in lines if line.sku.upper() not in {sku.upper() for sku in programme.earn.exclude_skus}]
    total = max(Decimal(0), sum((line.amount for line in eligible), Decimal(0)))
    points = int((total * programme.earn.points_per_unit).to_integral_value(ROUND_FLOOR))
    shares = {line.line_no: line.amount for line in eligible if line.amount > 0}
    return Earned(points, allocate(points, shares), total)


def allocate(points: int, shares: dict[int, Decimal]) -> dict[int, int]:
    """Divide points in proportion to shares by largest remainder; the parts always sum to the whole.

    Ties go to the smaller key. Without any share there is nothing to divide over.
    """
    total = sum(shares.values(), Decimal(0))
    if total <= 0:
        return {}
    exact = {key: Fraction(points) * Fraction(share) / Fraction(total) for key, share in shares.items()}
    floor = {key: int(value) for key, value in exact.items()}
    left = points - sum(floor.values())
    for key in sorted(exact, key=lambda key: (floor[key] - exact[key], key))[:left]:
        floor[key] += 1
    return floor


def clawbacks(sale: Iterable[Line], earned: Earned, returns: Iterable[Return], programme: Programme) -> dict[str, int]:
    """Points that each return takes back, in order of time.

    A returned article takes back the points of its line in proportion to the units returned so far (rounded down;
    the last unit takes the rest). What matches no line, or exceeds what was bought, takes back at the order's
    rate. All returns together never take back more than was earned.
    """
    excluded = {sku.upper() for sku in programme.earn.exclude_skus}
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


@dataclass(frozen=True)
class TierStanding:
    """The tier a customer holds, what the next one takes, and what keeps it.

    Attributes:
        holds_until: When it is lost if nothing more is earned; None for the lowest.
        points_to_keep: What must be earned before then to keep it.
    """

    tier: str
    qualifying_points: int
    next_tier: str | None
    points_to_next: int | None
    holds_until: datetime | None
    points_to_keep: int | None


def tier(qualifying: Iterable[tuple[datetime, int]], programme: Programme, now: datetime) -> TierStanding:
    """The highest tier whose points were earned (less clawed back) within the window that ends now.

    Args:
        qualifying: (when, points) of every earning and clawback of the customer.
        programme: The ladder.
        now: End of the window; later entries do not count yet.
    """
    window = timedelta(days=programme.tier_window_days)
    counted = sorted((at, amount) for at, amount in qualifying if now - window < at <= now)
    points = max(0, sum(amount for _, amount in counted))
    held = [step for step in programme.tiers if step.points <= points][-1]
    above: Tier | None = next((step for step in programme.tiers if step.points > points), None)
    until, missing = _lost(counted, held, window)
    return TierStanding(
        held.name, points, above.name if above else None, above.points - points if above else None, until, missing
    )


def _lost(counted: list[tuple[datetime, int]], held: Tier, window: timedelta) -> tuple[datetime | None, int | None]:
    """When so much has left the window that the tier is lost, and how much is missing then."""
    left = sum(amount for _, amount in counted)
    moments = sorted({at for at, _ in counted})
    for moment in moments if held.points else []:
        left -= sum(amount for at, amount in counted if at == moment)
        if left < held.points:
            return moment + window, held.points - max(0, left)
    return None, None
