"""Groups of alike customers: k-means on habits, with how stable they are, and names that say what sets each apart."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from cdp.insight.arrays import Array, Floats
from cdp.insight.card import Card

FEW, MOST = 200, 20_000  # customers to learn from; a fixed sample of more
SIZES = range(2, 7)
STABLE = 0.7  # adjusted Rand index between groups learned from different halves
HABITS = {
    "recency_days": ("bought lately", "silent for long"), "purchase_days": ("buys seldom", "buys often"), "average": ("spends little at a time", "spends much at a time"),
    "discounted_share": ("pays full price", "buys on discount"), "weekend_share": ("buys on weekdays", "buys at weekends"), "channels": ("one channel", "several channels"),
}  # fmt: skip
METHOD = "k-means on standardised habits, the number of groups by silhouette; stability is the adjusted Rand index (Hubert and Arabie 1985) between groups learned from different halves"
LIMITS = "single customers near a border between groups; data of less than a year"


@dataclass(frozen=True)
class Clusters:
    """Groups: their card, their names, the group of each customer by number."""

    card: Card
    names: list[str]
    of: Array


def matrix(rows: pl.DataFrame) -> Floats:
    """`recency_days, purchase_days, net, discounted_share, weekend_share, channels` of each customer as standardised numbers, shape (n, 6)."""
    f = {name: rows[name].cast(pl.Float64).fill_null(0).to_numpy() for name in ("recency_days", "purchase_days", "net", "discounted_share", "weekend_share", "channels")}
    average = np.log1p(np.maximum(f["net"], 0) / np.maximum(f["purchase_days"], 1))
    found = np.column_stack([np.log1p(f["recency_days"]), np.log1p(f["purchase_days"]), average, f["discounted_share"], f["weekend_share"], f["channels"]])
    spread = found.std(axis=0)
    return np.asarray((found - found.mean(axis=0)) / np.where(spread > 0, spread, 1))


def learn(rows: pl.DataFrame) -> Clusters | Card:
    """Group customers; only a card where there are too few.

    Args:
        rows: One of each customer that bought, in a fixed order.
    """
    about = f"{len(rows):,} customers who bought"
    if len(rows) < FEW:
        return Card("clusters", about, METHOD, doubts=(f"there are too few customers: it takes {FEW}",), limits=LIMITS)
    from sklearn.cluster import KMeans  # slow to load, and a run over nothing new learns nothing
    from sklearn.metrics import silhouette_score

    x = matrix(rows)
    random = np.random.default_rng(7)
    part = x if len(x) <= MOST else x[np.sort(random.choice(len(x), MOST, replace=False))]
    models = {k: KMeans(k, n_init=4, random_state=7).fit(part) for k in SIZES}
    looked_at = part[: min(len(part), 4000)]
    fits = {k: float(silhouette_score(looked_at, m.predict(looked_at))) for k, m in models.items() if len(set(m.predict(looked_at))) > 1}
    if not fits:
        return Card("clusters", about, METHOD, doubts=("customers do not differ",), limits=LIMITS)
    best = max(fits, key=lambda k: fits[k])
    stable = float(np.mean([_agreement(part, best, random) for _ in range(5)]))
    groups = models[best].predict(x)
    doubts = () if stable >= STABLE else (f"groups learned from different halves agree by {stable:.2f} only",)
    names = _names(models[best].cluster_centers_)
    shares = {name: float(np.mean(groups == n)) for n, name in enumerate(names)}
    figures = {"groups": best, "silhouette": fits[best], "stability (adjusted Rand)": stable}
    return Clusters(Card("clusters", about, METHOD, figures, shares, doubts, LIMITS), names, groups)


def _agreement(x: Floats, k: int, random: np.random.Generator) -> float:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    order = random.permutation(len(x))
    one, other = (KMeans(k, n_init=2, random_state=7).fit(x[half]).predict(x) for half in np.array_split(order, 2))
    return float(adjusted_rand_score(one, other))


def _names(centres: Floats) -> list[str]:
    """The two habits in which a group stands out most; where two groups would be named alike, numbered."""
    found: list[str] = []
    for centre in centres:
        order = np.argsort(-np.abs(centre))[:2]
        name = ", ".join(list(HABITS.values())[at][int(centre[at] > 0)] for at in sorted(order))
        found.append(name if name not in found else f"{name} ({len(found) + 1})")
    return found
