"""The household guards on one pair of payloads, as `pairs` and `negative` apply them to all of them."""

from collections.abc import Mapping
from typing import Any

from rapidfuzz.distance import DamerauLevenshtein

from identity import names

MOST = 400  # distinct (name, birth date) of a component that are compared all with all
SLIPS = 2  # birth dates that differ by no more may be one date, typed badly


def two_people(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether the given names are two people's, however much else they share; swapped names are one person's."""
    a, b = left.get("given_key"), right.get("given_key")
    if not a or not b or a == b or left.get("root") == right.get("root"):
        return False
    if left.get("first") and left["first"] == right.get("family") and left.get("family") == right.get("first"):
        return False
    return not names.compatible(a, b)


def two_births(given: str, birth: str, other_given: str, other_birth: str) -> bool:
    """Whether names and full birth dates are two people's: siblings, or parent and child, of one address."""
    if given == other_given or DamerauLevenshtein.distance(birth, other_birth) <= SLIPS:
        return False
    return not names.alike(given, other_given)
