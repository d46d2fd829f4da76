"""Markov chains of loyalty states: where customers go from month to month, where they will be, what they are worth.

Pfeifer and Carraway (2000), "Modeling Customer Relationships as Markov Chains", Journal of Interactive Marketing 14(2).
"""

import numpy as np

from cdp.insight.arrays import Floats

PRIOR = 0.5  # pseudo-counts (Jeffreys): a move that was never seen is not impossible


def transitions(counts: Floats, prior: float = PRIOR) -> Floats:
    """Row-stochastic matrix out of counts of moves (from × to), shape (k, k). From a state that nobody left or stayed in nobody moves."""
    padded = np.where(counts.sum(axis=1, keepdims=True) > 0, counts + prior, np.eye(len(counts)))
    return np.asarray(padded / padded.sum(axis=1, keepdims=True))


def forecast(shares: Floats, matrix: Floats, steps: int) -> Floats:
    """Where customers will be after 0 to `steps` steps, shape (steps + 1, k)."""
    found = [shares]
    for _ in range(steps):
        found.append(found[-1] @ matrix)
    return np.stack(found)


def value(matrix: Floats, reward: Floats, discount: float) -> Floats:
    """Expected value of a customer in each state for ever, shape (k,): V = (I − P / (1 + d))⁻¹ R.

    Args:
        matrix: Row-stochastic, shape (k, k).
        reward: What a state brings in one step, shape (k,).
        discount: Of one step, above zero.
    """
    return np.asarray(np.linalg.solve(np.eye(len(matrix)) - matrix / (1 + discount), reward))


def stationary(matrix: Floats) -> Floats:
    """The shares that a step leaves as they are, shape (k,)."""
    size = len(matrix)
    lines = np.vstack([matrix.T - np.eye(size), np.ones(size)])
    return np.asarray(np.linalg.lstsq(lines, np.append(np.zeros(size), 1.0), rcond=None)[0])


def removal_effects(counts: Floats, start: int, bought: int, lost: int) -> dict[int, float]:
    """Share of conversions each touchpoint carries, by what is lost without it; sums to one. Descriptive, not causal.

    Anderl, Becker, von Wangenheim and Schumann (2016), "Mapping the customer journey".

    Args:
        counts: Moves between states (from × to), shape (k, k).
        start: The state in which journeys begin.
        bought: The absorbing state of a conversion.
        lost: The absorbing state of none.
    """
    whole = _reach(counts, start, bought, lost, None)
    channels = [k for k in range(len(counts)) if k not in (start, bought, lost)]
    if whole <= 0:
        return dict.fromkeys(channels, 0.0)
    effects = {k: 1 - _reach(counts, start, bought, lost, k) / whole for k in channels}
    total = sum(effects.values())
    return {k: effect / total if total else 0.0 for k, effect in effects.items()}


def _reach(counts: Floats, start: int, bought: int, lost: int, without: int | None) -> float:
    """P(conversion) from the start; whoever would go to the channel left out is lost."""
    moves = counts.copy()
    moves[[bought, lost]] = 0
    if without is not None:
        moves[without] = 0
        moves[:, lost] += moves[:, without]
        moves[:, without] = 0
    total = moves.sum(axis=1, keepdims=True)
    matrix = np.divide(moves, total, out=np.zeros_like(moves), where=total > 0)
    inner = [k for k in range(len(counts)) if k not in (bought, lost, without)]
    solved = np.linalg.solve(np.eye(len(inner)) - matrix[np.ix_(inner, inner)], matrix[inner, bought])
    return float(solved[inner.index(start)])
