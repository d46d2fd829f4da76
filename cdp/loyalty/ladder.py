"""Which level somebody holds: a pure function of dated earnings, plan times, the ladder and the moment.

A climb is walked forward in time: what is earned is added, levels are reached, kept and lost. What a return takes back
counts at the time of its order, from the moment it is known: the way is then walked again without it.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cdp.loyalty.duration import end_of
from cdp.loyalty.programme import Programme
from cdp.loyalty.terms import Ladder, Level, Measure

FIRST = datetime.min.replace(tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
FORESIGHT = 30  # turns of time, years at most, that are looked ahead


@dataclass(frozen=True, order=True)
class Item:
    """What counts for a measure.

    Attributes:
        known_from: When it happened.
        at: When it counts: for what a return takes back, the time of its order.
        amount: Signed, in the unit's smallest part; for a plan 1 where a paid time begins and −1 where it ends.
    """

    known_from: datetime
    at: datetime
    amount: int


@dataclass(frozen=True)
class TierStanding:
    """The level a customer holds, what the next one takes, and what keeps it.

    Attributes:
        qualifying_points: What the measure stands at, in the unit's smallest part.
        holds_until: When it is lost if nothing more happens; None where it is not.
        points_to_keep: What is missing at that moment to keep it.
    """

    tier: str
    qualifying_points: int
    next_tier: str | None
    points_to_next: int | None
    holds_until: datetime | None
    points_to_keep: int | None


@dataclass
class Climb:
    """One ladder, walked by one customer.

    Attributes:
        height: The level held, counted from 0.
        since: When it was reached.
        until: When it is asked again whether it is kept.
        falls_at: When it is lost, if nothing more happens before: the end of the grace.
        decided_at: What was looked at when that was decided.
    """

    programme: Programme
    ladder: Ladder
    clock: datetime = FIRST
    height: int = 0
    since: datetime = FIRST
    until: datetime | None = None
    falls_at: datetime | None = None
    decided_at: datetime | None = None
    _items: list[tuple[datetime, int]] = field(default_factory=list)
    _sums: list[int] = field(default_factory=lambda: [0])
    _gone: list[datetime] = field(default_factory=list)  # when each item leaves a rolling window
    _lost: tuple[datetime | None] | None = None  # what `lost_at` said, until something turns

    @property
    def level(self) -> Level:
        """The level held."""
        return self.ladder.levels[self.height]

    @cached_property
    def measure(self) -> Measure:
        """What the ladder looks at."""
        return self.programme.measure(self.ladder)

    @cached_property
    def scale(self) -> int:
        """Smallest parts of one unit of the measure."""
        return int(10 ** self.programme.scale_of(self.measure.unit))

    def add(self, item: Item) -> None:
        """One item more, not known before those that were added."""
        self.walk(item.known_from)
        if item.at >= self.clock and (not self._items or self._items[-1][0] <= item.at):
            self._items.append((item.at, item.amount))
            self._sums.append(self._sums[-1] + item.amount)
            if self.measure.length is not None:
                self._gone.append(self.measure.length.after(item.at, self.programme.zone))
            self._lost = None
            self._look()
            return
        insort(self._items, (item.at, item.amount))
        self._again(item.known_from)

    def _again(self, now: datetime) -> None:
        """Walk the whole way again: something earlier is different."""
        fresh = Climb(self.programme, self.ladder)
        for at, amount in self._items:  # of one moment, what was taken back comes first: it never counted
            fresh.add(Item(at, at, amount))
        fresh.walk(now)
        self.__dict__.update(fresh.__dict__)

    def walk(self, to: datetime) -> None:
        """Let time pass."""
        while (moment := self._next()) is not None and moment <= to:
            self.clock, self._lost = moment, None
            self._turn()
        self.clock = max(self.clock, to)

    def value(self, at: datetime) -> int:
        """What the measure stands at, at a moment; never below nothing."""
        measure, zone = self.measure, self.programme.zone
        stop = bisect_right(self._items, at, key=lambda item: item[0])
        start = 0
        if measure.window == "rolling":
            start = bisect_right(self._gone, at)
        elif measure.window == "calendar_year":
            year = at.astimezone(zone).replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
            start = bisect_left(self._items, year, key=lambda item: item[0])
        elif measure.window == "anniversary" and self._items:
            start = bisect_left(self._items, self._anniversary(at), key=lambda item: item[0])
        elif measure.window == "since_tier":
            start = bisect_right(self._items, self.since, key=lambda item: item[0]) if self.height else 0
        return max(0, self._sums[stop] - self._sums[min(start, stop)])

    def _anniversary(self, at: datetime) -> datetime:
        """The last anniversary of the first item, not after `at`."""
        zone = self.programme.zone
        first, local = self._items[0][0].astimezone(zone), at.astimezone(zone)
        for year in (local.year, local.year - 1):
            day = min(first.day, 28) if first.month == 2 else first.day
            turn = first.replace(year=year, day=day)
            if turn <= local:
                return turn
        return first

    def _next(self) -> datetime | None:
        """The next moment at which time alone may change something."""
        found = [moment for moment in (self.until, self.falls_at) if moment is not None]
        if self.ladder.upgrade == "period_end" and self._items and self.clock > FIRST:
            found.append(end_of(self.clock, "year", self.programme.zone))
        if self.ladder.valid == "while_qualified" and self.height and self.falls_at is None:
            found += [leaves for leaves in (self._leaves(),) if leaves is not None]
        later = [moment for moment in found if moment > self.clock or moment in (self.until, self.falls_at)]
        return min(later, default=None)

    def _leaves(self) -> datetime | None:
        """When the next item leaves the window."""
        measure, zone = self.measure, self.programme.zone
        if measure.window == "rolling":
            index = bisect_right(self._gone, self.clock)
            return self._gone[index] if index < len(self._gone) else None
        if measure.window == "calendar_year":
            return end_of(self.clock, "year", zone)
        if measure.window == "anniversary" and self._items:
            last = self._anniversary(self.clock)
            return last.replace(year=last.year + 1, day=min(last.day, 28) if last.month == 2 else last.day)
        return None

    def _turn(self) -> None:
        """What a moment that time alone brought does."""
        if self.falls_at is not None and self.falls_at <= self.clock:
            self._fall(self.decided_at or self.clock)
        elif self.until is not None and self.until <= self.clock:
            # a year that has just ended is what is looked at; what made a level does not also keep it
            by_year = self.ladder.valid == "next_calendar_year_end" or self.ladder.upgrade == "period_end"
            looked_at = self.clock - INSTANT if by_year else self.clock
            if self.value(looked_at) >= self.level.keeps * self.scale:
                self.until = self._valid(looked_at)
            else:
                self.until = None
                self._lose(looked_at)
        elif self.ladder.valid == "while_qualified":
            self._look()
        if (
            self.ladder.upgrade == "period_end"
            and end_of(self.clock - INSTANT, "year", self.programme.zone) == self.clock
        ):
            reached = self._reached(self.value(self.clock - INSTANT))
            if reached > self.height:
                self._rise(reached, self.clock - INSTANT)

    def _look(self) -> None:
        """What the measure as it stands now reaches, keeps or loses."""
        value = self.value(self.clock)
        if self._reached(value) > self.height and self.ladder.upgrade == "immediate":
            self._rise(self._reached(value), self.clock)
        elif self.height and value >= self.level.keeps * self.scale:
            if self.falls_at is not None:  # kept within the grace
                self.falls_at = None
                self.until = self._valid(self.clock)
        elif self.height and self.ladder.valid == "while_qualified" and self.falls_at is None:
            self._lose(self.clock)

    def _reached(self, value: int) -> int:
        return max(i for i, level in enumerate(self.ladder.levels) if level.enter_at * self.scale <= value or i == 0)

    def _rise(self, height: int, looked_at: datetime) -> None:
        self.height, self.since, self.falls_at = height, self.clock, None
        self.until = self._valid(looked_at)

    def _valid(self, looked_at: datetime) -> datetime | None:
        """How long the level holds, from the moment that was looked at; None where it holds while qualified."""
        zone = self.programme.zone
        if self.ladder.valid == "while_qualified":
            return None
        if self.ladder.duration is not None:
            return self.ladder.duration.after(self.clock, zone)
        if self.ladder.valid == "calendar_year_end":
            return end_of(self.clock, "year", zone)
        end = end_of(looked_at, "year", zone)
        return end_of(end, "year", zone)

    def _lose(self, looked_at: datetime) -> None:
        """The level is no longer deserved: it goes when the grace is over."""
        if self.ladder.downgrade == "never":
            return
        self.falls_at, self.decided_at = self.ladder.grace.after(self.clock, self.programme.zone), looked_at
        if self.falls_at <= self.clock:
            self._fall(looked_at)

    def _fall(self, looked_at: datetime) -> None:
        """One level down, or to what the measure still keeps."""
        self.falls_at = None
        value = max(self.value(looked_at), self.value(self.clock))  # a grace never costs what would be kept without it
        kept = [i for i in range(self.height) if self.ladder.levels[i].keeps * self.scale <= value or i == 0]
        self.height = self.height - 1 if self.ladder.downgrade == "one_step" else max(kept)
        self.since = self.clock
        self.until = self._valid(looked_at) if self.height else None
        if self.height and self.ladder.valid == "while_qualified" and value < self.level.keeps * self.scale:
            self._lose(self.clock)

    def stands_until(self) -> datetime | None:
        """The next moment from which time alone may change anything that is told of it; None if never."""
        return min((moment for moment in (self._next(), self._leaves()) if moment is not None), default=None)

    def lost_at(self) -> datetime | None:
        """When the level is lost if nothing more happens; None if never."""
        if self._lost is None:
            self._lost = (self._loss(),)
        return self._lost[0]

    def _loss(self) -> datetime | None:
        if not self.height:
            return None
        ahead = copy(self)
        for _ in range(FORESIGHT + len(self._items)):  # what is kept for nothing is kept for ever
            if (moment := ahead._next()) is None:
                return None
            ahead.walk(moment)
            if ahead.height < self.height:
                return ahead.clock
        return None


def climb(items: Iterable[Item], programme: Programme, ladder: Ladder, now: datetime) -> Climb:
    """The way of a customer up to a moment, over all items that are known by then."""
    way = Climb(programme, ladder)
    for item in sorted(item for item in items if item.known_from <= now):
        way.add(item)
    way.walk(now)
    return way


def standing(way: Climb) -> TierStanding:
    """How a customer stands on its way."""
    value, levels, scale = way.value(way.clock), way.ladder.levels, way.scale
    above = levels[way.height + 1] if way.height + 1 < len(levels) else None
    lost = way.lost_at()
    keep = None
    if lost is not None:
        ahead = copy(way)
        ahead.walk(lost - INSTANT)
        ended = ahead.until is not None and ahead.falls_at is None and way.ladder.valid == "next_calendar_year_end"
        keep = max(0, way.level.keeps * scale - ahead.value(lost - INSTANT if ended else lost))
    missing = max(0, above.enter_at * scale - value) if above else None
    return TierStanding(way.level.code, value, above.code if above else None, missing, lost, keep)
