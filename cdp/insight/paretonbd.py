"""Pareto/NBD: customers buy at their own rate and stop at their own rate, at any time.

Schmittlein, Morrison and Colombo (1987); in the form of Fader and Hardie (2005), "A Note on Deriving the Pareto/NBD Model".
Times are in weeks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, hyp2f1

from cdp.insight.arrays import Floats
from cdp.insight.likelihood import Fit, fit


@dataclass(frozen=True)
class ParetoNbd:
    """A fitted model: purchases r, alpha (weeks); dropout s, beta (weeks)."""

    r: float
    alpha: float
    s: float
    beta: float
    fit: Fit

    def alive(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        """P(still a customer), shape (n,)."""
        p = np.array([self.r, self.alpha, self.s, self.beta])
        log_alive = -(self.r + x) * np.log(self.alpha + age) - self.s * np.log(self.beta + age)
        log_left = np.log(self.s / (self.r + self.s + x)) + _log_a0(p, x, t_x, age)
        return np.asarray(1 / (1 + np.exp(np.clip(log_left - log_alive, -700, 700))))

    def expected(self, x: Floats, t_x: Floats, age: Floats, horizon: float) -> Floats:
        """Expected purchases within the next `horizon` weeks, shape (n,)."""
        rate = (self.r + x) * (self.beta + age) / ((self.alpha + age) * (self.s - 1))
        falls = 1 - ((self.beta + age) / (self.beta + age + horizon)) ** (self.s - 1)
        return np.asarray(rate * falls * self.alive(x, t_x, age))


def fit_paretonbd(x: Floats, t_x: Floats, age: Floats) -> ParetoNbd:
    """Fit by maximum likelihood; arguments as of `fit_bgnbd`.

    Raises:
        ValueError: If there is nobody to learn from.
    """
    found = fit(lambda p: _log_likelihood(p, x, t_x, age), 4)
    r, alpha, s, beta = found.parameters
    return ParetoNbd(r, alpha, s, beta, found)


def _log_likelihood(p: Floats, x: Floats, t_x: Floats, age: Floats) -> Floats:
    r, alpha, s, beta = p
    together = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    alive = -(r + x) * np.log(alpha + age) - s * np.log(beta + age)
    left = np.log(s / (r + s + x)) + _log_a0(p, x, t_x, age)
    return np.asarray(together + np.logaddexp(alive, left))


def _log_a0(p: Floats, x: Floats, t_x: Floats, age: Floats) -> Floats:
    """The logarithm of A0 of the note, whose two forms keep the series' argument below one."""
    r, alpha, s, beta = p
    most, least = max(alpha, beta), min(alpha, beta)
    second = s + 1 if alpha >= beta else r + x
    power = r + s + x

    def term(at: Floats) -> Floats:
        series = hyp2f1(power, second, power + 1, (most - least) / (most + at))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(series) - power * np.log(most + at))

    near, far = term(t_x), term(age)
    gap = np.minimum(far - near, -1e-15)
    return np.asarray(np.where(t_x >= age, -np.inf, near + np.log1p(-np.exp(gap))))
