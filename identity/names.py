"""Whether two given names can be one person's: the guard on evidence that people share."""

from rapidfuzz.distance import JaroWinkler

from cdp.standard import nicknames

SIMILAR = 0.8  # Jaro-Winkler; below it two given names of one phone are two people
LONGEST = 100  # letters compared
SHORTEST_PREFIX = 3  # 'Fred' for 'Frederick'; two letters say too little


def compatible(left: str | None, right: str | None) -> bool:
    """Whether two given-name keys (a-z and spaces) may name one person; a missing one contradicts nothing."""
    if not left or not right or left == right:
        return True
    left, right = left[:LONGEST], right[:LONGEST]
    if JaroWinkler.similarity(left, right) >= SIMILAR:
        return True
    return any(_same_word(a, b) for a in left.split() for b in right.split())


def people(given_keys: list[str]) -> list[list[str]]:
    """Group given names that may be one person's (single linkage), in a stable order."""
    groups: list[list[str]] = []
    for name in sorted(set(given_keys)):
        near = [group for group in groups if any(compatible(name, other) for other in group)]
        rest = [group for group in groups if group not in near]
        groups = [*rest, sorted([name, *(member for group in near for member in group)])]
    return sorted(groups)


def _same_word(a: str, b: str) -> bool:
    if len(a) == 1 or len(b) == 1:
        return a[0] == b[0]
    if min(len(a), len(b)) >= SHORTEST_PREFIX and (a.startswith(b) or b.startswith(a)):
        return True
    return nicknames.same(a, b)
