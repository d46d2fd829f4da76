"""BG/NBD: how often a customer buys while alive, who may stop after any purchase.

Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2). Times are in weeks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammaln, hyp2f1

from cdp.insight.arrays import Array, Floats
from cdp.insight.likelihood import Fit, fit


@dataclass(frozen=True)
class BgNbd:
    """A fitted model.

    Attributes:
        r: Shape of purchase rates.
        alpha: Scale of purchase rates, weeks.
        a: First parameter of the chance to stop.
        b: Second parameter of the chance to stop.
        fit: How the fit went.
    """

    r: float
    alpha: float
    a: float
    b: float
    fit: Fit

    def alive(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        """P(still a customer), shape (n,). Not a churn score: it knows no horizon, and nobody stops without buying.

        Args:
            x: Repeat purchases.
            t_x: Weeks from the first purchase to the last.
            age: Weeks from the first purchase to now.
        """
        odds = np.log(self.a / (self.b + np.maximum(x, 1) - 1)) + (self.r + x) * np.log(
            (self.alpha + age) / (self.alpha + t_x)
        )
        return np.where(x == 0, 1.0, 1 / (1 + np.exp(np.minimum(odds, 700))))

    def silent(self, x: Floats, t_x: Floats, age: Floats, horizon: float) -> Floats:
        """P(no purchase within the next `horizon` weeks), shape (n,): stopped, or alive and not buying."""
        alive = self.alive(x, t_x, age)
        still = ((self.alpha + age) / (self.alpha + age + horizon)) ** (self.r + x)
        return np.asarray(1 - alive + alive * still)

    def expected(self, x: Floats, t_x: Floats, age: Floats, horizon: Floats | float) -> Floats:
        """Expected purchases within the next `horizon` weeks, shape (n,); equation 10 of the paper."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        share = horizon / (alpha + age + horizon)
        series = hyp2f1(r + x, b + x, a + b + x - 1, share)
        gone = ((alpha + age) / (alpha + age + horizon)) ** (r + x)
        return np.asarray((a + b + x - 1) / (a - 1) * (1 - gone * series) * self.alive(x, t_x, age))

    def new(self, horizon: float) -> float:
        """Expected purchases of a new customer within the first `horizon` weeks after the first."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        series = hyp2f1(r, b, a + b - 1, horizon / (alpha + horizon))
        return float((a + b - 1) / (a - 1) * (1 - (alpha / (alpha + horizon)) ** r * series))


def fit_bgnbd(x: Floats, t_x: Floats, age: Floats, weights: Array | None = None) -> BgNbd:
    """Fit by maximum likelihood.

    Args:
        x: Repeat purchases, shape (n,).
        t_x: Weeks from the first purchase to the last, shape (n,).
        age: Weeks from the first purchase to now, shape (n,).
        weights: How many customers each row stands for; one where absent.

    Raises:
        ValueError: If there is nobody to learn from.
    """
    scale = 1.0 if weights is None else weights * (len(weights) / weights.sum())

    def each(p: Floats) -> Floats:
        return np.asarray(scale * _log_likelihood(p, x, t_x, age))

    found = fit(each, 4)
    r, alpha, a, b = found.parameters
    return BgNbd(r, alpha, a, b, found)


def _log_likelihood(p: Floats, x: Floats, t_x: Floats, age: Floats) -> Floats:
    r, alpha, a, b = p
    together = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    left = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + t_x)
    return np.asarray(together + np.logaddexp(alive, np.where(x > 0, left, -np.inf)))
