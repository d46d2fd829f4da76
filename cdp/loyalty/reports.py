"""What the reports read: the programme's terms and rewards as tables, who holds which level, how long units live until they are spent."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import psycopg

from cdp.lake import build, delta, register
from cdp.lake.engine import Lake
from cdp.lake.register import recorded
from cdp.loyalty.breakage import curve
from cdp.loyalty.ladder import Item, climb, standing
from cdp.loyalty.programme import Programme
from cdp.loyalty.terms import Ladder
from cdp.store import grants

DAY, YEAR = timedelta(days=1), timedelta(days=365)
TERMS: dict[str, Any] = {
    "programme": pl.String, "unit": pl.String, "parts": pl.Int64, "cost": pl.Float64, "redemption_rate": pl.Float64, "is_redeemable": pl.Boolean,
    "currency": pl.String, "as_of": pl.Datetime("us", "UTC"), "year_ago": pl.Datetime("us", "UTC"),
}  # fmt: skip
REWARDS: dict[str, Any] = {
    "programme": pl.String, "reward": pl.String, "kind": pl.String, "value": pl.String, "unit": pl.String, "cost": pl.Int64, "min_level": pl.String,
    "stock": pl.Int64, "taken": pl.Int64,
}  # fmt: skip
TIERS: dict[str, Any] = {
    "customer_id": pl.String, "programme": pl.String, "level": pl.String, "height": pl.Int64, "qualifying": pl.Int64, "since": pl.Datetime("us", "UTC"),
    "holds_until": pl.Datetime("us", "UTC"), "next_level": pl.String, "missing": pl.Int64, "stands_until": pl.Datetime("us", "UTC"),
}  # fmt: skip
CURVE: dict[str, Any] = {"unit": pl.String, "age_days": pl.Int64, "redeemed_share": pl.Float64, "at_risk": pl.Int64}
QUALIFYING = """
    with issued as (
        select r.customer_id, e.entry_id, e.occurred_at, e.amount, e.order_id, e.original_order_id, e.kind
        from core__ledger_entries e join core__record_customers r on r.record_id = e.record_id
        where e.programme = $programme and e.unit = $unit and e.contra = 'issued'
    ), sold as (
        select customer_id, order_id, min(occurred_at) as sold_at from issued where kind = 'earn' and order_id is not null group by all
    )
    select i.customer_id, greatest(i.occurred_at, coalesce(s.sold_at, i.occurred_at)) as known_from,
        coalesce(s.sold_at, i.occurred_at) as at_time, i.amount, i.entry_id
    from issued i left join sold s on s.customer_id = i.customer_id and s.order_id = i.original_order_id
"""
RESTS_ON = """
    create or replace temp table rests as
    select customer_id, hash(sum(hash(hash(entry_id, known_from, at_time, amount)))) as rests_on from qualifying group by customer_id
"""
TURNED = "insert into touched select customer_id from core__customer_tiers where stands_until <= $now"
CLOCK = "core__customer_tiers#clock"
AGES = """
    select l.unit, date_diff('day', l.earned_at, d.occurred_at) as age, sum(case when d.contra = 'redeemed' then d.amount else 0 end)::bigint as redeemed,
        sum(case when d.contra <> 'redeemed' then d.amount else 0 end)::bigint as gone
    from core__ledger_draws d join core__ledger_lots l on l.lot_id = d.lot_id
    where l.unit = $unit group by all
    union all
    select unit, date_diff('day', earned_at, $now), 0, sum(remaining)::bigint from core__ledger_lots where unit = $unit and remaining > 0 group by all
"""


def build_terms(lake: Lake, programme: Programme, now: datetime) -> build.Built:
    """`core__loyalty_terms`: grain = unit of the programme, with the day of the run."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    rows = [
        (programme.programme, u.code, 10**u.scale, float(u.cost), float(u.redemption_rate), u.redeemable, programme.currency, day, day - YEAR)
        for u in programme.units
    ]  # fmt: skip
    mark = build.fingerprint(lake, (), rows, "terms 1")
    return build.build_table(
        lake, "core__loyalty_terms", mark, lambda: pl.DataFrame(rows, schema=TERMS, orient="row").to_arrow()
    )


def build_rewards(lake: Lake, store: psycopg.Connection, programme: Programme) -> build.Built:
    """`core__loyalty_rewards`: grain = reward × unit it costs, with how many are gone."""
    gone = grants.given(store, programme.programme, "reward")
    rows = [
        (programme.programme, r.code, r.kind, r.value, unit, cost, r.min_level, r.stock, gone.get(r.code, 0))
        for r in programme.rewards
        for unit, cost in r.cost.items()
    ]
    mark = build.fingerprint(lake, (), rows, "rewards 1")
    return build.build_table(
        lake, "core__loyalty_rewards", mark, lambda: pl.DataFrame(rows, schema=REWARDS, orient="row").to_arrow()
    )


@build.timed
def build_tiers(lake: Lake, programme: Programme, now: datetime) -> build.Built:
    """`core__customer_tiers`: grain = customer that has earned. The level held, since when, until when, and what the next one takes.

    Only customers are looked at again whose entries are others, or for whom time has changed something.
    """
    table, ladder = "core__customer_tiers", programme.ladder
    depends = build.fingerprint(lake, (), programme.fingerprint, programme.version, "tiers 2")
    inputs, day = ("core__ledger_entries", "core__record_customers"), now.replace(hour=0, minute=0, second=0, microsecond=0)  # fmt: skip
    mark = build.fingerprint(lake, inputs, depends, day)
    if recorded(lake, table) == mark:
        return build.Built(table, build.rows(lake, table), changed=False)
    measured = {"programme": programme.programme, "unit": programme.measured if ladder else ""}
    lake.rows(f"create or replace temp table qualifying as {QUALIFYING}", measured)
    lake.rows(RESTS_ON)
    went_back = _went_back(lake, now)
    if not went_back:
        _note_clock(lake, now)  # before: a run that dies in between has one made too many, never one too few
    changed = delta.otherwise(table, "customer_id", {"qualifying": "customer_id in (from touched)"})

    def scope(since: delta.Since) -> delta.Scoped | None:
        found = None if went_back else changed(since)
        if found:
            lake.rows(TURNED, {"now": now})
        return found

    def made() -> str:
        rows = _tiers(lake, programme, ladder, now) if ladder else []
        with build.incoming(lake, pl.DataFrame(rows, schema=TIERS, orient="row").to_arrow()):
            lake.rows("create or replace temp table levels as from incoming")
        return "select levels.*, rests_on from levels left join rests using (customer_id)"

    built = build.refresh(lake, table, mark, depends, (), made, scope)
    if went_back:
        _note_clock(lake, now)
    lake.drop("qualifying", "rests", "touched", "levels")
    return built


def _note_clock(lake: Lake, now: datetime) -> None:
    lake.write(lambda: register.record(lake, CLOCK, now.isoformat()), "the clock of the levels")


def _went_back(lake: Lake, now: datetime) -> bool:
    """Whether levels were last looked at by a later clock than this."""
    clock = recorded(lake, CLOCK)
    return clock is not None and now < datetime.fromisoformat(clock)


def _tiers(lake: Lake, programme: Programme, ladder: Ladder, now: datetime) -> list[tuple[object, ...]]:
    items: dict[str, list[Item]] = {}
    for customer, *item in lake.rows("select customer_id, known_from, at_time, amount from qualifying order by all"):
        items.setdefault(customer, []).append(Item(*item))
    rows: list[tuple[object, ...]] = []
    for customer, mine in items.items():
        way = climb(mine, programme, ladder, now)
        found, turns = standing(way), [way.stands_until(), *(item.known_from for item in mine if item.known_from > now)]
        rows.append((
            customer, programme.programme, found.tier, way.height, found.qualifying_points, way.since if way.height else None, found.holds_until,
            found.next_tier, found.points_to_next, min((at for at in turns if at is not None), default=None),
        ))  # fmt: skip
    return rows


def build_curve(lake: Lake, programme: Programme, now: datetime) -> build.Built:
    """`mart__redemption_curve`: grain = unit × age in days. The share of units spent by that age (Kaplan–Meier)."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    inputs = ("core__ledger_draws", "core__ledger_lots")
    mark = build.fingerprint(lake, inputs, [u.code for u in programme.units], day, "curve 1")

    def make() -> Any:
        rows = []
        for unit in (u.code for u in programme.units if u.redeemable):
            ages = [(age, redeemed, gone) for _, age, redeemed, gone in lake.rows(AGES, {"unit": unit, "now": day})]
            rows += [(unit, *point) for point in curve(ages)]
        return pl.DataFrame(rows, schema=CURVE, orient="row").to_arrow()

    return build.build_table(lake, "mart__redemption_curve", mark, make)
