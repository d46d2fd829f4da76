"""What people answer: NPS and CSAT, with how sure they are."""

from dataclasses import dataclass
from math import sqrt

Z = 1.959964  # 95 %


@dataclass(frozen=True)
class Share:
    """A figure with its 95 % interval, in per cent (NPS: −100 to 100), out of `answers`."""

    value: float
    low: float
    high: float
    error: float
    answers: int


def nps(promoters: int, passives: int, detractors: int) -> Share | None:
    """Net promoter score: per cent of 9 and more, minus per cent below 7, of those who answered; None where nobody did.

    The standard error is √(p + d − (p − d)²) / √n, the interval normal.
    """
    n = promoters + passives + detractors
    if not n:
        return None
    p, d = promoters / n, detractors / n
    score, error = 100 * (p - d), 100 * sqrt(max(0.0, p + d - (p - d) ** 2) / n)
    return Share(score, max(-100.0, score - Z * error), min(100.0, score + Z * error), error, n)


def csat(satisfied: int, answers: int) -> Share | None:
    """Per cent satisfied, with Wilson's interval (1927), which holds for few answers; None where nobody answered."""
    if not answers:
        return None
    p = satisfied / answers
    middle = (p + Z**2 / (2 * answers)) / (1 + Z**2 / answers)
    half = Z / (1 + Z**2 / answers) * sqrt(p * (1 - p) / answers + Z**2 / (4 * answers**2))
    return Share(100 * p, 100 * (middle - half), 100 * (middle + half), 100 * sqrt(p * (1 - p) / answers), answers)
