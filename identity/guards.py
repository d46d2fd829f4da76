"""The household guard on one pair of payloads, as `pairs` applies it to all of them."""

from collections.abc import Mapping
from typing import Any

from identity import names


def two_people(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether the given names are two people's, however much else they share; swapped names are one person's."""
    a, b = left.get("given_key"), right.get("given_key")
    if not a or not b or a == b or left.get("root") == right.get("root"):
        return False
    if left.get("first") and left["first"] == right.get("family") and left.get("family") == right.get("first"):
        return False
    return not names.compatible(a, b)
