"""Bounded maximum likelihood on log-parameters: an unbounded fit runs away on data without a pattern of dropout."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cdp.insight.arrays import Floats

LOWEST, HIGHEST = np.log(1e-4), np.log(1e4)
MARGIN = 0.05  # in log-parameters: nearer than this to a bound, a parameter lies on it


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        parameters: In the order of the model.
        log_likelihood: Natural logarithm, summed over customers.
        converged: The optimiser ended by itself.
        at_bound: A parameter lies on a bound: the data does not determine it.
    """

    parameters: tuple[float, ...]
    log_likelihood: float
    converged: bool
    at_bound: bool


def fit(log_likelihood: Callable[[Floats], Floats], count: int, start: float = 0.0) -> Fit:
    """The parameters (positive) that make the data likeliest, by L-BFGS-B.

    Args:
        log_likelihood: Of `count` positive parameters, shape (count,), for each customer, shape (n,).
        count: How many parameters.
        start: Of every log-parameter.

    Raises:
        ValueError: If the likelihood is not finite where the search starts.
    """

    def cost(logs: Floats) -> float:
        value = -float(np.mean(log_likelihood(np.exp(logs))))
        return value if np.isfinite(value) else 1e10

    first = np.full(count, start)
    size = len(log_likelihood(np.exp(first)))
    if size == 0 or cost(first) >= 1e10:
        raise ValueError("the likelihood is not finite where the search starts")
    from scipy.optimize import minimize  # slow to load, and a run over nothing new fits nothing

    found = minimize(
        cost, first, method="L-BFGS-B", bounds=[(LOWEST, HIGHEST)] * count, options={"ftol": 1e-13, "gtol": 1e-9}
    )
    near = np.minimum(found.x - LOWEST, HIGHEST - found.x) < MARGIN
    values = tuple(float(v) for v in np.exp(found.x))
    return Fit(values, -float(found.fun) * size, bool(found.success), bool(near.any()))
