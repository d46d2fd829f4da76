"""Whether models still see the customers they learned from."""

import numpy as np
import polars as pl

from cdp.checks import Finding
from cdp.insight.churn import FEW, NAMES, matrix
from cdp.lake.build import is_empty
from cdp.lake.engine import Lake

DRIFTED = 0.25  # population stability index above which a feature has moved (a usual limit: Siddiqi 2006)
TENTHS = 10


def stability(before: np.ndarray, now: np.ndarray) -> float:
    """Population stability index: Σ (p − q) ln(p / q) over tenths of what was before."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, TENTHS + 1)[1:-1]))
    p, q = (np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) + 0.5 for values in (before, now))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((p - q) * np.log(p / q)))


def drift(lake: Lake) -> Finding:
    """What customers are like today against what they were like at the cutoff on which the model was measured."""
    if is_empty(lake, "core__churn_features"):
        return Finding(ok=True, facts={"judged": "when there are customers"})
    features = pl.DataFrame(lake.connection.execute("select * from core__churn_features where role in ('holdout', 'score')").to_arrow_table())
    then, now = (features.filter(pl.col("role") == role) for role in ("holdout", "score"))
    if min(len(then), len(now)) < FEW:
        return Finding(ok=True, facts={"judged": "when there is enough history"})
    before, today = matrix(then), matrix(now)
    found = {name: round(stability(before[:, at], today[:, at]), 3) for at, name in enumerate(NAMES) if name not in ("age", "rate")}
    moved = {name: value for name, value in found.items() if value > DRIFTED}
    return Finding(not moved, {"moved": moved, "largest index": max(found.values())})
