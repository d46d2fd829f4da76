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
MOST = 50_000  # customers to fit on; a fixed sample of more
YEAR = 52.0  # weeks
DISCOUNT = 0.10  # a year
WORST = 0.20  # share by which the sum over the holdout may be missed
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
    """x (repeat days), t_x and age in weeks, mean spend of a day, each of shape (n,).

    Args:
        rows: `days, recency_days, age_days, net` of each customer.
    """
    days, age = rows["days"].cast(pl.Float64).to_numpy(), rows["age_days"].cast(pl.Float64).to_numpy()
    recency = rows["recency_days"].cast(pl.Float64).to_numpy()
    return (
        days - 1,
        (age - recency) / 7,
        age / 7,
        np.maximum(rows["net"].cast(pl.Float64).to_numpy(), 0) / np.maximum(days, 1),
    )


def learn(now: pl.DataFrame, then: pl.DataFrame, horizon: int) -> Value | Card:
    """Fit on all, after measuring a fit on what was known a horizon ago.

    Args:
        now: `customer_id, days, recency_days, age_days, net` of everybody (or a sample) as of today.
        then: The same as of a horizon ago, with `days_after`: days with a purchase since.
        horizon: Days.
    """
    about = f"{len(now):,} customers who bought; measured on {len(then):,} over the last {horizon} days, which the measured fit had not seen"
    if len(then) < FEW or len(now) < FEW or (then["days"] > 1).sum() < FEW / 4:
        why = "there is too little history: it takes 200 customers, 50 of whom bought again, before the last horizon"
        return Card("customer_value", about, METHOD, doubts=(why,), limits=LIMITS)
    x, t_x, age, _ = summary(then)
    actual, weeks = then["days_after"].cast(pl.Float64).to_numpy(), horizon / 7
    old = fit_bgnbd(x, t_x, age)
    predicted = old.expected(x, t_x, age, weeks)
    pareto = fit_paretonbd(x, t_x, age)
    total, seen = float(predicted.sum()), float(actual.sum())
    error = (total - seen) / seen if seen else float("inf")
    other = pareto.expected(x, t_x, age, weeks)
    x, t_x, age, mean = summary(now)
    model = fit_bgnbd(x, t_x, age)
    spend, dependence = _spend(x, mean)
    figures = {
        "purchases predicted": round(total), "purchases seen": round(seen), "error of the sum": error,
        "correlation": float(np.corrcoef(predicted, actual)[0, 1]) if predicted.std() and actual.std() else None,
        "mean absolute error": float(np.abs(predicted - actual).mean()), "of the past's rate": float(np.abs(x_rate(then) * weeks - actual).mean()),
        "error of the sum, Pareto/NBD": (float(np.nansum(other)) - seen) / seen if seen else None, "correlation of frequency and spend": dependence,
    }  # fmt: skip
    doubts = [
        *([f"it missed the holdout's sum by {abs(error):.0%}"] if abs(error) > WORST else []),
        *(["the data does not determine dropout: a parameter lies on its bound"] if model.fit.at_bound else []),
        *(["nobody's spend could be fitted"] if spend is None else []),
        *(
            [f"spend follows frequency (correlation {dependence:.2f})"]
            if dependence is not None and abs(dependence) > 0.3
            else []
        ),
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
        "Pareto/NBD r, alpha, s, beta": ", ".join(f"{v:.3f}" for v in (pareto.r, pareto.alpha, pareto.s, pareto.beta))
    }
    return Value(Card("customer_value", about, METHOD, figures, fitted, tuple(doubts), LIMITS), model, spend)


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
    spend = model.spend.expected(x + 1, mean) if model.spend and np.isfinite(model.spend.average) else mean
    frame = pl.DataFrame({
        "customer_id": now["customer_id"], "p_alive": model.purchases.alive(x, t_x, age), "expected_purchases": upto[-1], "expected_spend": spend, "value": worth * spend,
    })  # fmt: skip
    return frame.with_columns(pl.col(pl.Float64).map_batches(lambda s: s.set(~s.is_finite(), None)))


def _spend(x: Floats, mean: Floats) -> tuple[GammaGamma | None, float | None]:
    again = (x > 0) & (mean > 0)
    if again.sum() < FEW / 4:
        return None, None
    found = fit_gammagamma(x[again] + 1, mean[again])
    return found, float(np.corrcoef(x[again], mean[again])[0, 1]) if x[again].std() and mean[again].std() else None
