"""P(no purchase within the horizon): a logistic baseline always beside, gradient boosting where it wins, reasons in words.

Everything is ordered in time: models learn from cutoffs whose horizon ended before the holdout's cutoff, are chosen on the
newest of those, and are measured once on the holdout. For scores of today they learn from all of them.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from cdp.insight.arrays import Array, Floats
from cdp.insight.card import Card

if TYPE_CHECKING:  # scikit-learn is slow to load, and a run over nothing new learns nothing
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline

FEW = 200  # customers below which nothing is learned
BINS = 10
SHRINKAGE = (
    0.003  # inverse strength of the ridge: habits drift with the season, so little is believed of single weights
)
SEED = 7
REASONS = {
    "silence": ("recency", "overdue"), "buys_less_often": ("month", "horizon", "before", "rate"), "few_purchases": ("days", "months", "once", "age"),
    "spends_little": ("net", "average", "net_horizon", "breadth"), "returns": ("returns", "returns_horizon"), "service": ("tickets", "late", "bad"),
    "discounts_only": ("discounted",),
}  # fmt: skip
NAMES = (
    "recency", "age", "days", "net", "average", "month", "horizon", "before", "net_horizon", "overdue", "months", "returns", "returns_horizon", "rate",
    "once", "discounted", "tickets", "late", "bad", "breadth",
)  # fmt: skip


class Classifier(Protocol):
    """What scores."""

    def predict_proba(self, x: Floats) -> Floats:
        """P of each class, shape (n, 2)."""


@dataclass(frozen=True)
class Churn:
    """Models for today's scores, and how their like did on the holdout.

    Attributes:
        card: Of both models.
        baseline: The logistic regression.
        winner: What scores: the baseline, or gradient boosting.
        is_boosted: Which of them.
    """

    card: Card
    baseline: "Pipeline"
    winner: Classifier
    is_boosted: bool


def matrix(features: pl.DataFrame) -> Floats:
    """Rows of `core__churn_features` as numbers a linear model can use, shape (n, len(NAMES))."""
    columns = {
        name: features[name].cast(pl.Float64).to_numpy()
        for name in features.columns
        if features[name].dtype.is_numeric()
    }
    f, days = columns, np.maximum(columns["days"], 1)
    gap = np.where(days > 1, (f["age_days"] - f["recency_days"]) / np.maximum(days - 1, 1), f["age_days"])
    net, late = np.maximum(f["net"], 0), np.maximum(f["net_horizon"], 0)
    found = (
        np.log1p(f["recency_days"]), np.log1p(f["age_days"]), np.log(days), np.log1p(net), np.log1p(net / days), np.log1p(f["days_month"]),
        np.log1p(f["days_horizon"]), np.log1p(f["days_before"]), np.log1p(late), np.log((f["recency_days"] + 1) / (gap + 1)),
        np.log(np.maximum(f["months"], 1)), np.log1p(f["returns"]), np.log1p(f["returns_horizon"]), np.log(days / (f["age_days"] + 7)), days == 1,
        f["discounted_share"], np.log1p(f["tickets"]), np.log1p(f["late_tickets"]), np.log1p(f["bad_answers"]),
        np.log1p(f["lines"] / np.maximum(f["orders"], 1)),
    )  # fmt: skip
    return np.column_stack([np.asarray(column, float) for column in found])


def _logistic() -> "Pipeline":
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=SHRINKAGE, max_iter=2000))


def _boosted() -> "HistGradientBoostingClassifier":
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.05, max_leaf_nodes=6, min_samples_leaf=100, l2_regularization=10, random_state=SEED
    )


def learn(features: pl.DataFrame) -> Churn | Card:
    """Learn and measure; only a card that says why not where there is too little.

    Args:
        features: `core__churn_features`.
    """
    past, holdout = (features.filter(pl.col("role") == role) for role in ("learn", "holdout"))
    horizon = int(features["horizon"][0]) if len(features) else 0
    about = f"{past['cutoff'].n_unique()} cutoffs with {len(past):,} customers to learn from, one with {len(holdout):,} to be measured on"
    method = (
        f"P(no purchase within {horizon} days): ridge logistic regression on recency, frequency, spend, returns and service; "
        "gradient boosting where it wins on the newest cutoff it did not learn from"
    )
    limits = "people who never bought; businesses younger than three horizons; the weeks after a change of prices or assortment"
    enough = all(len(part) >= FEW and part["is_silent"].n_unique() == 2 for part in (past, holdout))
    if not enough:
        why = "there is too little history: it takes two and a half horizons and 200 customers"
        return Card("churn", about, method, doubts=(why,), limits=limits)
    from sklearn.metrics import brier_score_loss, roc_auc_score

    wins = _boosting_wins(past)
    learned, truth = matrix(past), _silent(past)
    measured, actual = matrix(holdout), _silent(holdout)
    baseline, boosted = _logistic().fit(learned, truth), _boosted().fit(learned, truth)
    chances = {
        name: model.predict_proba(measured)[:, 1] for name, model in (("logistic", baseline), ("boosted", boosted))
    }
    chosen = chances["boosted" if wins else "logistic"]
    recency = measured[:, 0]
    base = float(actual.mean())
    auc, brier = float(roc_auc_score(actual, chosen)), float(brier_score_loss(actual, chosen))
    figures = {
        "customers": len(actual), "silent": base, "AUC": auc, "Brier score": brier, "AUC of recency alone": float(roc_auc_score(actual, recency)),
        "Brier score of the share alone": base * (1 - base),
        **{f"{what} of {name}": float(score(actual, p)) for name, p in chances.items() for what, score in (("AUC", roc_auc_score), ("Brier score", brier_score_loss))},
        "mean prediction": float(chosen.mean()), "calibration error": _calibration_error(actual, chosen),
    }  # fmt: skip
    doubts = [
        *(["it ranks no better than recency alone"] if auc < figures["AUC of recency alone"] else []),
        *(["its chances are worse than the plain share"] if brier >= base * (1 - base) else []),
        *(
            [f"it was off by {figures['calibration error']:.0%} on average"]
            if figures["calibration error"] > 0.15
            else []
        ),
    ]
    both = pl.concat([past, holdout])
    final = _logistic().fit(matrix(both), _silent(both))
    winner: Any = _boosted().fit(matrix(both), _silent(both)) if wins else final
    weights = dict(zip(NAMES, map(float, final[-1].coef_[0]), strict=True))
    fitted = {"scores": "gradient boosting" if wins else "logistic", **weights}
    return Churn(
        Card("churn", about, method, figures, fitted, tuple(doubts), limits, _reliability(actual, chosen)),
        final,
        winner,
        wins,
    )


def score(model: Churn, features: pl.DataFrame) -> pl.DataFrame:
    """Scores of customers as of today: `customer_id, churn, baseline, reasons` (the three that speak loudest, by the baseline)."""
    if features.is_empty():
        return pl.DataFrame(
            schema={"customer_id": pl.String, "churn": pl.Float64, "baseline": pl.Float64, "reasons": pl.String}
        )
    x = matrix(features)
    said = model.baseline[:-1].transform(x) * model.baseline[-1].coef_[0]
    groups = list(REASONS)
    at = {name: number for number, name in enumerate(NAMES)}
    summed = np.stack([said[:, [at[name] for name in REASONS[group]]].sum(axis=1) for group in groups], axis=1)
    order = np.argsort(-summed, axis=1)[:, :3]
    names = np.array([*groups, ""])
    loud = np.where(np.take_along_axis(summed, order, axis=1) > 0.05, order, len(groups))
    joined = pl.DataFrame(names[loud], schema=["a", "b", "c"], orient="row").select(
        pl.concat_str(["a", "b", "c"], separator=",").str.strip_chars(",")
    )
    return pl.DataFrame({
        "customer_id": features["customer_id"], "churn": model.winner.predict_proba(x)[:, 1], "baseline": model.baseline.predict_proba(x)[:, 1],
        "reasons": joined.to_series(),
    })  # fmt: skip


def _boosting_wins(past: pl.DataFrame) -> bool:
    """By Brier score on the newest cutoff to learn from, by more than its standard error.

    Horizons of cutoffs overlap, so the models that are compared learned from the older ones of other customers.
    """
    newest, half = past["cutoff"].max(), pl.col("customer_id").map_elements(_is_first_half, return_dtype=pl.Boolean)
    older, last = past.filter((pl.col("cutoff") < newest) & half), past.filter((pl.col("cutoff") == newest) & ~half)
    if len(older) < FEW or len(last) < FEW / 2 or older["is_silent"].n_unique() < 2:
        return False
    truth, x = _silent(last), matrix(last)
    errors = [(truth - make().fit(matrix(older), _silent(older)).predict_proba(x)[:, 1]) ** 2 for make in (_logistic, _boosted)]
    gain = errors[0] - errors[1]
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


def _is_first_half(customer: str) -> bool:
    return hashlib.md5(customer.encode(), usedforsecurity=False).digest()[0] < 128


def _silent(features: pl.DataFrame) -> Array:
    return features["is_silent"].to_numpy().astype(bool)


def _reliability(actual: Array, chances: Floats) -> tuple[tuple[float, float, int], ...]:
    """(predicted, observed, customers) by tenths of the prediction."""
    bins = np.minimum((chances * BINS).astype(int), BINS - 1)
    return tuple(
        (float(chances[bins == n].mean()), float(actual[bins == n].mean()), int((bins == n).sum()))
        for n in range(BINS)
        if (bins == n).any()
    )


def _calibration_error(actual: Array, chances: Floats) -> float:
    """Expected calibration error over tenths (Naeini, Cooper and Hauskrecht 2015)."""
    return sum(abs(p - o) * n for p, o, n in _reliability(actual, chances)) / len(actual)
