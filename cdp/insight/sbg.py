"""sBG: how many of a cohort stay, period after period, when each has a chance of its own to leave.

Fader and Hardie (2007), "How to Project Customer Retention", Journal of Interactive Marketing 21(1).
"""

from dataclasses import dataclass

import numpy as np

from cdp.insight.arrays import Floats
from cdp.insight.likelihood import Fit, fit


@dataclass(frozen=True)
class Sbg:
    """A fitted model: alpha and beta of the chance to leave at a renewal."""

    alpha: float
    beta: float
    fit: Fit

    def retention(self, periods: int) -> Floats:
        """Share of those still there who stay, at renewals 1 to `periods`, shape (periods,)."""
        t = np.arange(1, periods + 1)
        return np.asarray((self.beta + t - 1) / (self.alpha + self.beta + t - 1))

    def survival(self, periods: int) -> Floats:
        """Share of the cohort still there after 0 to `periods` renewals, shape (periods + 1,)."""
        return np.concatenate([[1.0], np.cumprod(self.retention(periods))])


def fit_sbg(remaining: Floats) -> Sbg:
    """Fit to how many of a cohort were there after 0, 1, 2 … renewals.

    Args:
        remaining: Counts or shares, never rising, at least two of them, shape (periods + 1,).

    Raises:
        ValueError: If there are fewer than two, or they rise.
    """
    if len(remaining) < 2 or remaining[0] <= 0 or (np.diff(remaining) > 0).any():
        raise ValueError("a cohort's counts start above zero and never rise")
    lost, periods = -np.diff(remaining), len(remaining) - 1
    size = float(remaining[0])

    def each(p: Floats) -> Floats:
        alpha, beta = p
        t = np.arange(1, periods + 1)
        stay = np.log(beta + t - 1) - np.log(alpha + beta + t - 1)
        leave = np.log(alpha) - np.log(alpha + beta + t - 1)
        before = np.concatenate([[0.0], np.cumsum(stay)[:-1]])
        return np.asarray([(lost @ (before + leave) + remaining[-1] * np.sum(stay)) / size])

    found = fit(each, 2)
    alpha, beta = found.parameters
    return Sbg(alpha, beta, found)
