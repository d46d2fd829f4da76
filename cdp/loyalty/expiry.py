"""When units end: bound at earning, moved by activity, or following the level that is held. Pure functions of dated facts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cdp.loyalty.duration import end_of
from cdp.loyalty.ladder import Climb, Item
from cdp.loyalty.lots import NEVER, Fact, Lot
from cdp.loyalty.programme import Programme
from cdp.loyalty.terms import Expiry, Level


def first_end(programme: Programme, at: datetime, level: Level | None = None) -> datetime | None:
    """When what is earned at a moment ends, as is known then; None for never.

    Args:
        programme: The version of that moment, through the unit.
        at: When it was earned.
        level: What the customer held; a level's own expiry counts from then on (`at_earn`) or while it is held (`live`).
    """
    policy = programme.expiry_at(level)
    return end(policy if policy.binding == "at_earn" else programme.terms.expiry, at, programme)


def end(policy: Expiry, at: datetime, programme: Programme) -> datetime | None:
    """The end of a lot under one policy, counted from a moment."""
    zone = programme.zone
    if policy.mode == "never":
        return None
    least = policy.after.after(at, zone) if policy.after else at
    if policy.mode == "calendar":
        ends = [_day_end(least.astimezone(zone).year + more, day, programme) for more in (0, 1) for day in policy.dates]
        return min(moment for moment in ends if moment > least and moment > at).astimezone(at.tzinfo)
    return end_of(least, policy.round_to, zone)


def _day_end(year: int, day: str, programme: Programme) -> datetime:
    month, number = int(day[:2]), int(day[3:])
    if (month, number) == (2, 29) and (year % 4 or (year % 100 == 0 and year % 400)):
        number = 28
    return end_of(datetime(year, month, number, 12, tzinfo=programme.zone), "day", programme.zone)


@dataclass
class _Own:
    """What is known of a lot's end: without an exemption, the least after one, when it was last exempt, when it was extended."""

    base: datetime | None
    floor: datetime | None = None
    exempt: datetime | None = None
    extended: str = ""


@dataclass
class Moving:
    """The ends of one customer's lots in one unit, as facts go by (`cdp.loyalty.lots.Ends`).

    Attributes:
        programme: The rules, through the unit.
        items: What counts for the ladder, by the time it is known.
        moved: When an account last changed its customer: what it held lives at least `min_life` from then.
        written_off: Expiries that were posted before that.
    """

    programme: Programme
    items: list[Item] = field(default_factory=list)
    moved: Mapping[str, datetime] = field(default_factory=dict)
    written_off: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        ladder, self._policy, self._unit = self.programme.ladder, self.programme.terms.expiry, self.programme.unit
        levels = ladder.levels if ladder else ()
        live = any(level.expiry[u].binding == "live" for level in levels for u in level.expiry if u == self._unit)
        self._way = Climb(self.programme, ladder) if ladder and live else None
        self._items = sorted(self.items) if self._way else []
        self._own: dict[str, _Own] = {}
        self._next = 0

    def turns(self, until: datetime) -> Iterator[datetime]:
        """The moments at which what counts for the ladder comes to be known."""
        while self._way is not None and self._next < len(self._items) and self._items[self._next].known_from <= until:
            item = self._items[self._next]
            self._next += 1
            self._way.add(item)
            yield item.known_from
        if self._way is not None:
            self._way.walk(until)

    def after(self, fact: Fact, lots: Iterable[Lot]) -> None:
        """An activity moves the ends of what was open before it."""
        policy = self._policy
        if not fact.says & set(policy.activities) or not (policy.mode == "inactivity" or policy.extend_by):
            return
        for lot in lots:
            own = self._of(lot)
            if lot.fact_id == fact.fact_id or own.base is None:
                continue
            if policy.mode == "inactivity":
                own.base = max(own.base, end(policy, fact.at, self.programme) or own.base)
            elif policy.extend_by is not None:
                month = f"{fact.at.astimezone(self.programme.zone):%Y-%m}"
                if month > own.extended:
                    own.base = policy.extend_by.after(own.base, self.programme.zone)
                    own.extended = month

    def settle(self, lots: Iterable[Lot], at: datetime) -> None:
        """Give open lots the ends they have at a moment, as far ahead as is known then."""
        way = self._way
        held = way.level.expiry.get(self._unit) if way is not None else None
        other = held if held is not None and held.binding == "live" else None
        lost = way.lost_at() if way is not None and other is not None else None
        for lot in lots:
            own = self._of(lot)
            if other is not None:
                own.exempt = at
                there = end(other, lot.at, self.programme)
                back = self._least(own, self._lives_on(lost) if lost else None)
                lot.expires_at = there if lost is None or (there is not None and there <= lost) else back
                continue
            if own.exempt is not None and way is not None:
                # time took the level when it ran out; what is only known now takes it now
                floor = self._lives_on(way.since if way.since > own.exempt else at)
                own.exempt = None
                own.floor = max(own.floor or floor, floor)
            lot.expires_at = self._least(own, own.floor)

    def _lives_on(self, lost: datetime) -> datetime:
        """The least that units live which lose an exemption at a moment."""
        return self._policy.min_life.after(lost, self.programme.zone)

    @staticmethod
    def _least(own: _Own, floor: datetime | None) -> datetime | None:
        return own.base if own.base is None or floor is None else max(own.base, floor)

    def _of(self, lot: Lot) -> _Own:
        found = self._own.get(lot.lot_id)
        if found is None:
            found = self._own[lot.lot_id] = _Own(
                lot.expires_at, extended=f"{lot.opened_at.astimezone(self.programme.zone):%Y-%m}"
            )
            moved = self.moved.get(lot.account)
            if moved is not None and lot.opened_at < moved and lot.expiry not in self.written_off:
                found.floor = self._lives_on(moved)
        return found


def schedule(lots: Iterable[Lot], now: datetime) -> list[tuple[datetime | None, int]]:
    """When open units end: (when, how many), what does not end last. Less what is owed they sum to the balance."""
    found: dict[datetime | None, int] = {}
    for lot in lots:
        if lot.remaining and lot.ends_at > now:
            found[lot.expires_at] = found.get(lot.expires_at, 0) + lot.remaining
    return sorted(found.items(), key=lambda item: item[0] or NEVER)
