"""What the selects read besides data: the day of the run, its windows and months, steps of a visit, promises, cutoffs of models."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from cdp.insight.rules import Insight
from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.service import Service

DAY, YEAR = timedelta(days=1), timedelta(days=365)
MONTHS = 13
COHORT_MONTHS = 37
LEARN = (28, 4)  # days between cutoffs that models learn from, and how many
MOST = 100_000  # customers of a cutoff that models learn from
EVERYBODY = "g"  # above every hexadecimal digit
TERMS: dict[str, Any] = {
    "as_of": pl.Datetime("us", "UTC"), "as_of_day": pl.Date, "year_from": pl.Date, "two_years_from": pl.Date, "rfm_from": pl.Date, "newest_month": pl.Int64,
    "timezone": pl.String, "currency": pl.String, "horizon_days": pl.Int64, "often": pl.Int64, "spurious_discount": pl.Float64,
    "session_minutes": pl.Int64, "touch_days": pl.Int64, "purpose": pl.String,
}  # fmt: skip
MONTH: dict[str, Any] = {"number": pl.Int64, "month": pl.String, "first_day": pl.Date, "last_day": pl.Date}
STEP: dict[str, Any] = {"name": pl.String, "step": pl.String, "position": pl.Int64}
PROMISE: dict[str, Any] = {"kind": pl.String, "name": pl.String, "hours": pl.Float64}
CUTOFF: dict[str, Any] = {
    "cutoff": pl.Date, "role": pl.String, "label_until": pl.Date, "month_from": pl.Date, "horizon_from": pl.Date, "before_from": pl.Date, "sample": pl.String,
}  # fmt: skip


def _table(
    lake: Lake, table: str, schema: dict[str, Any], rows: Callable[[], list[tuple[Any, ...]]], *marks: object,
    inputs: tuple[str, ...] = (),
) -> build.Built:  # fmt: skip
    mark = build.fingerprint(lake, inputs, *marks, "insight 1")
    return build.build_table(lake, table, mark, lambda: pl.DataFrame(rows(), schema=schema, orient="row").to_arrow())


def months(day: date, count: int = MONTHS) -> list[tuple[int, str, date, date]]:
    """(number, month, first day, last day) of the last months, oldest first; the newest ends today."""
    found, last = [], day
    for number in range(count, 0, -1):
        found.append((number, f"{last:%Y-%m}", last.replace(day=1), last))
        last = last.replace(day=1) - DAY
    return found[::-1]


def build_terms(lake: Lake, rules: Insight, currency: str, now: datetime) -> build.Built:
    """`core__insight_terms`: grain = one row. Everything up to the end of the run's day counts."""
    day = now.astimezone(rules.zone).date()
    end = datetime.combine(day + DAY, datetime.min.time(), rules.zone) - timedelta(microseconds=1)
    row = (
        end, day, day - YEAR + DAY, day - 2 * YEAR + DAY, day - timedelta(days=rules.rfm_days) + DAY, MONTHS, rules.timezone, rules.currency or currency,
        rules.horizon_days, rules.often, rules.spurious_discount, rules.session_minutes, rules.touch_days, rules.purpose,
    )  # fmt: skip
    return _table(lake, "core__insight_terms", TERMS, lambda: [row], row)


def build_months(lake: Lake, rules: Insight, now: datetime) -> build.Built:
    """`core__insight_months`: grain = month, the last thirteen."""
    found = months(now.astimezone(rules.zone).date())
    return _table(lake, "core__insight_months", MONTH, lambda: list(found), found)


def build_cohort_months(lake: Lake, rules: Insight, now: datetime) -> build.Built:
    """`core__cohort_months`: grain = month, the last three years: retention needs months that lie a horizon back."""
    found = months(now.astimezone(rules.zone).date(), COHORT_MONTHS)
    return _table(lake, "core__cohort_months", MONTH, lambda: list(found), found)


def build_steps(lake: Lake, rules: Insight) -> build.Built:
    """`core__insight_steps`: grain = name of an event or page × step of a visit that it reaches."""
    found = list(rules.steps())
    return _table(lake, "core__insight_steps", STEP, lambda: list(found), found)


def build_promises(lake: Lake, service: Service) -> build.Built:
    """`core__service_terms`: grain = tier with its deadline, and state in which a ticket is closed."""
    found = [("deadline", tier, float(hours)) for tier, hours in sorted(service.deadline_hours.items())]
    found += [("closed", state.lower(), None) for state in service.closed]  # type: ignore[misc]
    return _table(lake, "core__service_terms", PROMISE, lambda: list(found), found)


def cutoffs(first: date | None, day: date, horizon: int, customers: int) -> list[tuple[Any, ...]]:
    """The days at whose end models look: today to score, one horizon ago to be measured, before that to learn.

    A cutoff to learn from ends its horizon before the one to be measured begins, so that no day is both learnt and
    predicted; it needs as long a past as its horizon.

    Args:
        first: The first purchase of all.
        day: Today.
        horizon: Days.
        customers: Who ever bought; of many, a fixed sample is learnt from.
    """
    far = timedelta(days=horizon)
    sample = EVERYBODY if customers <= MOST else f"{int(0x10000 * MOST / customers):04x}"
    found = [(day, "score", EVERYBODY)]
    if first is not None and day - 2 * far - first >= far / 2:
        found.append((day - far, "holdout", sample))
        step, many = LEARN
        starts = [day - 2 * far - timedelta(days=step * n) for n in range(many)]
        found += [(start, "learn", sample) for start in starts if start - first >= far / 2]
    return [(c, role, c + far, c - timedelta(days=28), c - far, c - 2 * far, part) for c, role, part in found]


def build_cutoffs(lake: Lake) -> build.Built:
    """`core__churn_cutoffs`: grain = cutoff."""
    inputs = ("core__purchase_days", "core__purchase_horizon", "core__insight_terms")

    def rows() -> list[tuple[Any, ...]]:
        first, customers = lake.rows(
            "select min(day), count(distinct customer_id) from core__purchase_days where orders > 0"
        )[0]
        horizon, day = lake.rows(
            "select h.days, t.as_of_day from core__purchase_horizon h cross join core__insight_terms t"
        )[0]
        return cutoffs(first, day, int(horizon), int(customers))

    return _table(lake, "core__churn_cutoffs", CUTOFF, rows, inputs=inputs)
