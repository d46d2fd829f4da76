"""Customer lifetime value: expected purchases (BG/NBD) times expected spend (Gamma-Gamma), gated by a holdout."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from cdp.insight.arrays import Floats
from cdp.insight.bgnbd import BgNbd, fit_bgnbd
from cdp.insight.card import Card
from cdp.insight.gammagamma import GammaGamma, fit_gammagamma
from cdp.insight.paretonbd import fit_paretonbd

FEW = 200
MOST = 20_000  # customers to fit on; of more, every so many by id
YEAR = 52.0  # weeks
DISCOUNT = 0.10  # a year
WORST, WORST_MONEY = 0.20, 0.30  # shares by which the sums of purchases and of money over the holdout may be missed
LIMITS = (
    "contracts and subscriptions; customers whose spend follows their frequency; seasons the data has not seen twice"
)
METHOD = "BG/NBD (Fader, Hardie and Lee 2005) for purchases, Gamma-Gamma (Fader and Hardie 2013) for spend, over 52 weeks at 10 % a year; Pareto/NBD beside"


@dataclass(frozen=True)
class Value:
    """Fitted models."""

    card: Card
    purchases: BgNbd
    spend: GammaGamma | None


def summary(rows: pl.DataFrame) -> tuple[Floats, Floats, Floats, Floats]:
    """x (repeat days), t_x and age in weeks, mean spend of a day in the currency of reports, each of shape (n,).

    Args:
        rows: `days, paid_days, recency_days, age_days, net` of each customer.
    """
    days, age = rows["days"].cast(pl.Float64).to_numpy(), rows["age_days"].cast(pl.Float64).to_numpy()
    recency = rows["recency_days"].cast(pl.Float64).to_numpy()
    return (
        days - 1,
        (age - recency) / 7,
        age / 7,
        np.maximum(rows["net"].cast(pl.Float64).to_numpy(), 0) / np.maximum(_paid(rows), 1),
    )


def learn(now: pl.DataFrame, then: pl.DataFrame, horizon: int) -> Value | Card:
    """Fit on all, after measuring a fit on what was known a horizon ago.

    Args:
        now: `customer_id, days, paid_days, recency_days, age_days, net` of everybody (or a sample) as of today.
        then: The same as of a horizon ago, with `days_after` and `net_after`: days with a purchase, and money, since.
        horizon: Days.
    """
    about = f"{len(now):,} customers who bought; measured on {len(then):,} over the last {horizon} days, which the measured fit had not seen"
    if len(then) < FEW or len(now) < FEW or (then["days"] > 1).sum() < FEW / 4:
        why = "there is too little history: it takes 200 customers, 50 of whom bought again, before the last horizon"
        return Card("customer_value", about, METHOD, doubts=(why,), limits=LIMITS)
    now, then = (rows.gather_every(max(1, len(rows) // MOST)) for rows in (now, then))
    x, t_x, age, before = summary(then)
    actual, weeks = then["days_after"].cast(pl.Float64).to_numpy(), horizon / 7
    old = fit_bgnbd(x, t_x, age)
    predicted, other = old.expected(x, t_x, age, weeks), fit_paretonbd(x, t_x, age)
    seen, error = float(actual.sum()), _error(predicted, actual)
    old_spend, _ = _spend(_paid(then), before)
    worth = predicted * _share(then) * _expected_spend(old_spend, _paid(then), before)
    money = _error(worth, then["net_after"].cast(pl.Float64).to_numpy())
    x, t_x, age, mean = summary(now)
    model = fit_bgnbd(x, t_x, age)
    spend, dependence = _spend(_paid(now), mean)
    figures = {
        "purchases predicted": round(float(predicted.sum())), "purchases seen": round(seen), "error of the sum": error, "error of the money": money,
        "correlation": float(np.corrcoef(predicted, actual)[0, 1]) if predicted.std() and actual.std() else None,
        "mean absolute error": float(np.abs(predicted - actual).mean()), "of the past's rate": float(np.abs(x_rate(then) * weeks - actual).mean()),
        "error of the sum, Pareto/NBD": _error(other.expected(*summary(then)[:3], weeks), actual), "correlation of frequency and spend": dependence,
    }  # fmt: skip
    fits = [model.fit, old.fit, *([spend.fit] if spend else [])]
    doubts = [  # what is no number is no proof: hence the denials
        *([f"it missed the holdout's sum by {abs(error):.0%}"] if not abs(error) <= WORST else []),
        *([f"it missed the holdout's money by {abs(money):.0%}"] if not abs(money) <= WORST_MONEY else []),
        *(["the data does not determine it: a parameter lies on its bound"] if any(fit.at_bound for fit in fits) else []),
        *(["a fit did not end by itself"] if not all(fit.converged for fit in fits) else []),
        *(["nobody's spend could be fitted"] if spend is None else []),
        *([f"spend follows frequency (correlation {dependence:.2f})"] if dependence is not None and not abs(dependence) <= 0.3 else []),
    ]
    fitted: dict[str, float | str] = {
        "r": model.r,
        "alpha": model.alpha,
        "a": model.a,
        "b": model.b,
        "log-likelihood": model.fit.log_likelihood,
    }
    if spend is not None:
        fitted |= {"p": spend.p, "q": spend.q, "gamma": spend.v}
    fitted |= {
        "Pareto/NBD r, alpha, s, beta": ", ".join(f"{v:.3f}" for v in (other.r, other.alpha, other.s, other.beta))
    }
    return Value(Card("customer_value", about, METHOD, figures, fitted, tuple(doubts), LIMITS), model, spend)


def _paid(rows: pl.DataFrame) -> Floats:
    return rows["paid_days"].cast(pl.Float64).to_numpy()


def x_rate(rows: pl.DataFrame) -> Floats:
    """Repeat purchases a week so far: what a forecast has to beat, shape (n,)."""
    x, _, age, _ = summary(rows)
    return np.asarray(x / np.maximum(age, 1))


def score(model: Value, now: pl.DataFrame) -> pl.DataFrame:
    """`customer_id, p_alive, expected_purchases, expected_spend, value`, over a year; what cannot be computed is null."""
    x, t_x, age, mean = summary(now)
    quarters = np.arange(1, 5) * YEAR / 4
    upto = [np.zeros(len(x)), *(model.purchases.expected(x, t_x, age, weeks) for weeks in quarters)]
    worth = sum((b - a) / (1 + DISCOUNT) ** ((n + 0.5) / 4) for n, (a, b) in enumerate(pairwise(upto)))
    spend = _expected_spend(model.spend, _paid(now), mean)
    frame = pl.DataFrame({
        "customer_id": now["customer_id"], "p_alive": model.purchases.alive(x, t_x, age), "expected_purchases": upto[-1], "expected_spend": spend, "value": worth * _share(now) * spend,
    })  # fmt: skip
    return frame.with_columns(pl.col(pl.Float64).map_batches(lambda s: s.set(~s.is_finite(), None)))


def _error(predicted: Floats, seen: Floats) -> float:
    total = float(seen.sum())
    return (float(predicted.sum()) - total) / total if total > 0 else float("inf")


def _share(rows: pl.DataFrame) -> Floats:
    """Share of somebody's days whose money is in the currency of reports, shape (n,)."""
    return np.asarray(_paid(rows) / np.maximum(rows["days"].cast(pl.Float64).to_numpy(), 1))


def _expected_spend(spend: GammaGamma | None, paid: Floats, mean: Floats) -> Floats:
    return spend.expected(paid, mean) if spend and np.isfinite(spend.average) else mean


def _spend(paid: Floats, mean: Floats) -> tuple[GammaGamma | None, float | None]:
    """Fitted on who bought on two days or more, and how far spend follows frequency."""
    again = (paid > 1) & (mean > 0)
    if again.sum() < FEW / 4:
        return None, None
    found = fit_gammagamma(paid[again], mean[again])
    return found, float(np.corrcoef(paid[again], mean[again])[0, 1]) if paid[again].std() and mean[again].std() else None
