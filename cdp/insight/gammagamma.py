"""Gamma-Gamma: what a customer spends at a time, given few purchases.

Fader and Hardie (2013), "The Gamma-Gamma Model of Monetary Value". Holds where spend and frequency are independent.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from cdp.insight.arrays import Floats
from cdp.insight.likelihood import Fit, fit


@dataclass(frozen=True)
class GammaGamma:
    """A fitted model: p, q, and v (gamma of the paper) in units of money."""

    p: float
    q: float
    v: float
    fit: Fit

    @property
    def average(self) -> float:
        """Mean spend over everybody; infinite where q is at most one."""
        return self.p * self.v / (self.q - 1) if self.q > 1 else float("inf")

    def expected(self, x: Floats, mean: Floats) -> Floats:
        """Expected spend at a time, shape (n,); the average where nobody bought again.

        Args:
            x: Purchases whose spend is known.
            mean: Their mean spend.
        """
        return np.asarray(self.p * (self.v + x * mean) / (self.p * x + self.q - 1))


def fit_gammagamma(x: Floats, mean: Floats) -> GammaGamma:
    """Fit by maximum likelihood over customers who bought again and spent something.

    Raises:
        ValueError: If nobody did.
    """
    kept = (x > 0) & (mean > 0)
    x, scale = x[kept], float(np.mean(mean[kept])) if kept.any() else 1.0
    mean = mean[kept] / scale  # currencies with large numbers (yen) are fitted as well as others

    def each(parameters: Floats) -> Floats:
        p, q, v = parameters
        return np.asarray(
            gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v)
            + (p * x - 1) * np.log(mean) + p * x * np.log(x) - (p * x + q) * np.log(x * mean + v)
        )  # fmt: skip

    found = fit(each, 3)
    p, q, v = found.parameters
    return GammaGamma(p, q, v * scale, found)
