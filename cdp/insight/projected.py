"""Tables of curves and chains: survival by channel, retention of cohorts, loyalty states of the months to come, credit of channels."""

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from cdp.insight.arrays import Floats
from cdp.insight.card import Card, build_with_card
from cdp.insight.markov import forecast, removal_effects, transitions, value
from cdp.insight.sbg import fit_sbg
from cdp.insight.surveys import csat, nps
from cdp.insight.survival import kaplan_meier, log_rank
from cdp.lake import build
from cdp.lake.engine import Lake

STATES = ("new", "active", "occasional", "reactivated", "at_risk", "dormant", "churned")
MONTHLY = 1.1 ** (1 / 12) - 1  # of 10 % a year
AHEAD = 12  # months
CURVES: dict[str, Any] = {
    "channel": pl.String,
    "days": pl.Float64,
    "survival": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "at_risk": pl.Float64,
}
COHORT: dict[str, Any] = {"months": pl.Int64, "observed": pl.Float64, "projected": pl.Float64}
FUTURE: dict[str, Any] = {
    "step": pl.Int64,
    "state": pl.String,
    "share": pl.Float64,
    "customers": pl.Float64,
    "value": pl.Float64,
}
CREDIT: dict[str, Any] = {"rule": pl.String, "channel": pl.String, "share": pl.Float64, "orders": pl.Float64}
SCORES: dict[str, Any] = {
    "question": pl.String, "channel": pl.String, "state": pl.String, "period": pl.String, "score": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "error": pl.Float64, "answers": pl.Int64,
}  # fmt: skip


def _frame(schema: dict[str, Any], rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")


def build_survival(lake: Lake, now: datetime) -> build.Built:
    """`mart__survival_curves`: grain = channel of the first order (and `all`) × day. Share that had not stopped buying by then."""

    def make() -> tuple[Card, pl.DataFrame]:
        found = lake.rows("select channel, days, has_ended, customers from core__lifetimes order by 1, 2, 3")
        channel = np.array([row[0] for row in found])
        days, ended, counts = (
            np.array([row[at] for row in found], kind) for at, kind in ((1, float), (2, bool), (3, float))
        )
        rows = []
        for name in ["all", *sorted(set(channel.tolist()))]:
            part = np.ones(len(days), bool) if name == "all" else channel == name
            if ended[part].any():
                curve = kaplan_meier(days[part], ended[part], counts[part])
                rows += [
                    (name, *map(float, row))
                    for row in zip(curve.times, curve.survival, curve.low, curve.high, curve.at_risk, strict=True)
                ]
        figures: dict[str, Any] = {"customers": int(counts.sum()), "stopped": int(counts[ended].sum()) if len(found) else 0}
        doubts = () if rows else ("nobody has stopped buying yet",)
        if rows and len(set(channel.tolist())) > 1:
            statistic, p = log_rank(days, ended, channel, counts)
            figures |= {"log-rank between channels": statistic, "its p-value": p}
        card = Card(
            "survival", "days from the first purchase to the last; those silent for less than the horizon still go on (censored)",
            "Kaplan–Meier with Greenwood's variance, log-rank between channels of the first order", figures, doubts=doubts,
            limits="causes: channels draw different people",
        )  # fmt: skip
        return card, _frame(CURVES, rows)

    return build_with_card(lake, "mart__survival_curves", "ops__survival_card", ("core__lifetimes",), now, make, "survival 1")


def cohort_curve(rows: list[tuple[int, int, int]]) -> Floats:
    """Share of a cohort still there after 0, 1, 2 … months, out of (cohort, months, customers) of cohorts of different ages."""
    counts = {(cohort, months): customers for cohort, months, customers in rows}
    found, most = [1.0], max((months for _, months, _ in rows), default=0)
    for months in range(1, most + 1):
        pairs = [
            (counts[c, months - 1], n) for (c, m), n in counts.items() if m == months and (c, months - 1) in counts
        ]
        before, after = sum(b for b, _ in pairs), sum(n for _, n in pairs)
        found.append(min(found[-1], found[-1] * (after / before)) if before else found[-1])
    return np.array(found)


def build_retention(lake: Lake, now: datetime) -> build.Built:
    """`mart__retention_projection`: grain = months since the first purchase. Share of a cohort still there, seen and projected by sBG."""

    def make() -> tuple[Card, pl.DataFrame]:
        query = """
            select c.cohort, c.months, cast(c.customers as bigint) from core__cohorts c cross join core__purchase_horizon h
            where (c.cohort + c.months) <= (select max(number) from core__cohort_months) - 1 - ceil(h.days / 30.0) order by 1, 2
        """
        seen = cohort_curve(lake.rows(query))
        enough, cut = len(seen) >= 6, max(4, int(len(seen) * 0.75))
        figures: dict[str, Any] = {"months seen": len(seen) - 1}
        rows: list[tuple[Any, ...]] = [(month, float(share), None) for month, share in enumerate(seen)]
        fitted, doubts = {}, ["there is too little history: it takes five months that lie a horizon back"]
        if enough and seen[cut - 1] < 1:
            error = float(np.abs(fit_sbg(seen[:cut]).survival(len(seen) - 1)[cut:] - seen[cut:]).max())
            model = fit_sbg(seen)
            rows = [
                (month, float(seen[month]) if month < len(seen) else None, float(share))
                for month, share in enumerate(model.survival(len(seen) - 1 + AHEAD))
            ]
            figures |= {"months measured": len(seen) - cut, "largest error": error}
            fitted, doubts = (
                {"alpha": model.alpha, "beta": model.beta},
                [f"it missed the newest months by up to {error:.0%}"] if error > 0.1 else [],
            )
        card = Card(
            "retention_projection", "cohorts of the last three years by the month of their first purchase; months nearer than a horizon are left out",
            "shifted beta-geometric (Fader and Hardie 2007), measured on the newest quarter of the months", figures, fitted, tuple(doubts),
            "single customers; cohorts won by an offer unlike those before",
        )  # fmt: skip
        return card, _frame(COHORT, rows)

    return build_with_card(lake, "mart__retention_projection", "ops__retention_card", ("core__cohorts", "core__purchase_horizon", "core__cohort_months"), now, make, "retention 1")


def build_forecast(lake: Lake, now: datetime) -> build.Built:
    """`mart__state_forecast`: grain = months ahead × loyalty state. Expected share and number of today's customers, and a state's value."""

    def make() -> tuple[Card, pl.DataFrame]:
        names = [str(row[0]) for row in lake.rows("select month from core__insight_months order by number")][
            1:-1
        ]  # whole months
        at = {state: number for number, state in enumerate(STATES)}
        counts = {month: np.zeros((len(STATES), len(STATES))) for month in names}
        for month, before, after, customers in lake.rows(
            "select month, state_before, state, customers from mart__state_moves"
        ):
            if month in counts and before in at:
                counts[month][at[before], at[after]] = customers
        rewards = np.zeros(len(STATES))
        for state, reward in lake.rows("select state, reward from core__state_rewards"):
            rewards[at[state]] = reward or 0.0
        moved = [month for month in names if counts[month].sum()]
        rows: list[tuple[Any, ...]] = []
        figures: dict[str, Any] = {"months of moves": len(moved)}
        doubts = ["there is too little history: it takes six months of moves"]
        if moved:
            matrix = transitions(sum(counts[month] for month in moved))  # type: ignore[arg-type]
            now_in = np.zeros(len(STATES))
            for state, customers in lake.rows("select m.state, count(*) from core__customer_months m join core__insight_terms t on t.newest_month = m.number group by 1"):
                now_in[at[state]] = customers
            worth = value(matrix, rewards, MONTHLY)
            ahead = forecast(now_in / now_in.sum(), matrix, AHEAD)
            rows = [
                (k, state, float(ahead[k, n]), float(ahead[k, n] * now_in.sum()), float(worth[n]))
                for k in range(AHEAD + 1)
                for n, state in enumerate(STATES)
            ]
        if len(moved) >= 6:
            old = transitions(sum(counts[month] for month in moved[:-3]))  # type: ignore[arg-type]
            start = counts[moved[-3]].sum(axis=1)
            after = forecast(start / start.sum(), old, 1)[1]
            seen = counts[moved[-3]].sum(axis=0) / counts[moved[-3]].sum()
            error, stays = float(np.abs(after - seen).sum() / 2), float(np.abs(start / start.sum() - seen).sum() / 2)
            figures |= {"moved wrongly, one step": error, "if nobody moved": stays}
            doubts = ["it is worse than saying that nobody moves"] if error > stays else []
        card = Card(
            "loyalty_states", "moves between loyalty states at the ends of whole months of the last year",
            "Markov chain with Jeffreys' prior; value of a state as Pfeifer and Carraway (2000) at 10 % a year; measured on one of the newest months, learned from those before",
            figures, {f"{a} → {b}": float(matrix[i, j]) for i, a in enumerate(STATES) for j, b in enumerate(STATES) if matrix[i, j] >= 0.05} if moved else {},
            tuple(doubts), "single customers: it knows only the state they are in",
        )  # fmt: skip
        return card, _frame(FUTURE, rows)

    inputs = ("mart__state_moves", "core__state_rewards", "core__insight_months", "core__customer_months", "core__insight_terms")
    return build_with_card(lake, "mart__state_forecast", "ops__states_card", inputs, now, make, "forecast 1")


def build_attribution(lake: Lake) -> build.Built:
    """`mart__attribution`: grain = rule × channel. Share of orders by first touch, last touch, and removal effect; descriptive."""
    mark = build.fingerprint(lake, ("core__touch_steps", "mart__touch_credit"), "attribution 1")
    return build.build_table(lake, "mart__attribution", mark, lambda: _frame(CREDIT, _credited(lake)).to_arrow())


def _credited(lake: Lake) -> list[tuple[Any, ...]]:
    moves = lake.rows("""
        select '(start)', channel, count(*) from core__touch_steps where is_first group by 2
        union all select channel, next_channel, count(*) from core__touch_steps group by 1, 2 order by 1, 2
    """)
    credited = [
        (str(r), str(c), float(s), float(o))
        for r, c, s, o in lake.rows("select rule, channel, share, orders from mart__touch_credit order by 1, 2")
    ]
    ends = ["(start)", "(bought)", "(lost)"]
    names = [*ends, *sorted({str(n) for row in moves for n in row[:2]} - set(ends))]
    counts = np.zeros((len(names), len(names)))
    for before, after, journeys in moves:
        counts[names.index(before), names.index(after)] += journeys
    orders = sum(row[3] for row in credited if row[0] == "last")
    effects = removal_effects(counts, 0, 1, 2) if moves else {}
    return [*credited, *(("removal effect", names[k], share, share * orders) for k, share in effects.items())]


def build_survey_scores(lake: Lake) -> build.Built:
    """`mart__survey_scores`: grain = question × channel × state × period. NPS, CSAT and star ratings with their 95 % intervals."""
    mark = build.fingerprint(lake, ("core__survey_counts",), "surveys 1")
    query = "select question, channel, state, period, answers, cast(good as bigint), cast(bad as bigint) from core__survey_counts order by all"

    def rows() -> list[tuple[Any, ...]]:
        found = []
        for question, channel, state, period, answers, good, bad in lake.rows(query):
            share = nps(good, answers - good - bad, bad) if question == "nps" else csat(good, answers)
            if share:
                found.append(
                    (question, channel, state, period, share.value, share.low, share.high, share.error, share.answers)
                )
        return found

    return build.build_table(lake, "mart__survey_scores", mark, lambda: _frame(SCORES, rows()).to_arrow())
