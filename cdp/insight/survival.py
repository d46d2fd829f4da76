"""Survival: how long until an event, when some were still waiting when the data ends (Kaplan and Meier 1958; Mantel 1966)."""

from dataclasses import dataclass

import numpy as np

from cdp.insight.arrays import Array, Floats


@dataclass(frozen=True)
class Curve:
    """A survival curve, a step at each time of an event.

    Attributes:
        times: Rising, shape (k,).
        survival: Share without the event after that time, shape (k,).
        at_risk: Still waiting just before, shape (k,).
        low: Lower end of the 95 % interval (log-log, Greenwood's variance), shape (k,).
        high: Its upper end, shape (k,).
    """

    times: Floats
    survival: Floats
    at_risk: Floats
    low: Floats
    high: Floats

    @property
    def median(self) -> float:
        """The first time by which half had the event; infinite where the curve stays above."""
        below = self.times[self.survival <= 0.5]
        return float(below[0]) if len(below) else float("inf")

    def at(self, time: float) -> float:
        """Share without the event at a time."""
        passed = self.survival[self.times <= time]
        return float(passed[-1]) if len(passed) else 1.0


def kaplan_meier(durations: Floats, happened: Array, weights: Array | None = None) -> Curve:
    """The curve of these.

    Args:
        durations: Until the event, or until the data ends, shape (n,).
        happened: Whether the event happened, shape (n,).
        weights: How many each row stands for; one where absent.
    """
    counts = np.ones(len(durations)) if weights is None else weights.astype(float)
    times, events, at_risk = _tables(durations, happened, counts)
    survival = np.cumprod(1 - events / at_risk).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(events / (at_risk * (at_risk - events)))
        spread = 1.959964 * np.sqrt(variance) / np.log(survival)
        low, high = survival ** np.exp(-spread), survival ** np.exp(spread)
    flat = (survival <= 0) | (survival >= 1)
    return Curve(times, survival, at_risk, np.where(flat, survival, low), np.where(flat, survival, high))


def log_rank(durations: Floats, happened: Array, group: Array, weights: Array | None = None) -> tuple[float, float]:
    """Whether the curves of groups differ: the statistic (chi-squared) and its p-value.

    Args:
        durations: As of `kaplan_meier`.
        happened: As of `kaplan_meier`.
        group: The group of each, at least two, shape (n,).
        weights: As of `kaplan_meier`.

    Raises:
        ValueError: If there are fewer than two groups.
    """
    counts = np.ones(len(durations)) if weights is None else weights.astype(float)
    names = np.unique(group)
    if len(names) < 2:
        raise ValueError("curves are compared of at least two groups")
    times, events, at_risk = _tables(durations, happened, counts)
    inside = np.stack([_at(times, durations, counts * (group == name)) for name in names])
    seen = np.array([counts[(group == name) & happened].sum() for name in names])
    expected = (inside * events / at_risk).sum(axis=1)
    free = np.where(at_risk > 1, events * (at_risk - events) / np.maximum(at_risk - 1, 1), 0.0) / at_risk**2
    spread = np.diag((inside * at_risk * free).sum(axis=1)) - (inside * free) @ inside.T
    apart = (seen - expected)[:-1]
    value = float(apart @ np.linalg.pinv(spread[:-1, :-1]) @ apart)
    from scipy.stats import chi2  # slow to load, and a run over nothing new tests nothing

    return value, float(chi2.sf(value, len(names) - 1))


def _tables(durations: Floats, happened: Array, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Times of events, how many then, how many at risk just before."""
    times, where = np.unique(durations[happened], return_inverse=True)
    events = np.bincount(where, weights=counts[happened], minlength=len(times)).astype(float)
    return times, events, _at(times, durations, counts)


def _at(times: Floats, durations: Floats, counts: Floats) -> Floats:
    order = np.argsort(durations)
    before = np.concatenate([[0.0], np.cumsum(counts[order])])
    return np.asarray(before[-1] - before[np.searchsorted(durations[order], times, side="left")])
