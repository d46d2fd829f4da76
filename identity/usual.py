"""What is usual in files of people: of each level of each comparison m, its share among pairs of one person, and u, among others.

Round numbers between those that were learnt, without labels, from the reference files. They stand in where a file does not show
its own (`identity.informed`), and weigh no more than `WORTH` pairs do.
"""

from identity.fields import Comparison

WORTH = 100.0  # pairs of one person, and pairs of two: as much as is usual counts beside what a file shows
PRIOR = 0.005  # share of pairs that are one person's
SHARES: dict[str, dict[str, tuple[float, float]]] = {
    "first": {
        "the same": (0.60, 0.01), "a short form of it": (0.06, 0.005), "first and family swapped, one with slips at most": (0.02, 0.0002),
        "similar (Jaro–Winkler 0.9)": (0.12, 0.003), "among the other's names": (0.05, 0.003), "initial": (0.03, 0.003),
        "similar (Jaro–Winkler 0.78)": (0.06, 0.01), "different": (0.06, 0.966),
    },
    "family": {
        "the same": (0.68, 0.003), "first and family swapped, one with slips at most": (0.02, 0.0002), "similar (Jaro–Winkler 0.92)": (0.14, 0.002),
        "among the other's names but the first": (0.03, 0.002), "among the other's names": (0.03, 0.002), "similar (Jaro–Winkler 0.8)": (0.05, 0.005), "different": (0.08, 0.988),
    },
    "rest": {"the same": (0.55, 0.01), "similar (Jaro–Winkler 0.88)": (0.13, 0.005), "initial": (0.10, 0.03), "a word in common": (0.10, 0.01), "different": (0.12, 0.945)},
    "birth_date": {
        "the same": (0.62, 0.0002), "the same year, both on 1 January": (0.05, 0.001), "at most 1 slip": (0.18, 0.003),
        "the same year, one on 1 January": (0.02, 0.001), "at most 2 slips": (0.06, 0.02), "the same year": (0.02, 0.015), "different": (0.05, 0.96),
    },
    "email": {
        "the same": (0.62, 0.0001), "the same before the @": (0.12, 0.0001),
        "similar (Jaro–Winkler 0.9), with the same number or one slip": (0.08, 0.0002), "at most 1 slip": (0.05, 0.0001), "different": (0.13, 0.9995),
    },
    "phone": {"the same": (0.65, 0.0003), "at most 1 slip": (0.08, 0.0003), "different": (0.27, 0.9994)},
    "postal_code": {"the same": (0.62, 0.002), "at most 1 slip": (0.10, 0.003), "the same district": (0.06, 0.005), "different": (0.22, 0.99)},
    "city": {"the same": (0.70, 0.05), "similar (Jaro–Winkler 0.88)": (0.12, 0.01), "part of the other": (0.03, 0.005), "different": (0.15, 0.935)},
    "region": {"the same": (0.90, 0.2), "different": (0.10, 0.8)},
    "street": {"the same": (0.40, 0.0005), "similar (Jaro–Winkler 0.9)": (0.25, 0.001), "a word in common": (0.20, 0.08), "different": (0.15, 0.9185)},
    "gender": {"the same": (0.95, 0.5), "different": (0.05, 0.5)},
    "occupation": {"the same": (0.80, 0.05), "different": (0.20, 0.95)},
    "national_id": {"the same": (0.72, 0.0001), "at most 1 slip": (0.12, 0.0002), "at most 2 slips": (0.05, 0.0005), "different": (0.11, 0.9992)},
}  # fmt: skip


def shares(comparison: Comparison) -> tuple[list[float], list[float]]:
    """(m, u) of the levels that a comparison has, each adding up to 1."""
    found = [SHARES[comparison.name][test.label] for test in comparison.tests[1:]]
    m, u = (sum(values) for values in zip(*found, strict=True))
    return [each / m for each, _ in found], [each / u for _, each in found]
