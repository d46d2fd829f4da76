"""Whether two given names can be one person's: the guard on evidence that people share."""

import re
from functools import lru_cache

from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

from cdp.standard import nicknames

SIMILAR = 0.8  # Jaro-Winkler; below it two given names of one phone are two people
LONGEST = 100  # letters compared
SHORTEST_PREFIX = 3  # 'Fred' for 'Frederick'; two letters say too little
SHORTEST_SLIPPED = 5  # 'Mark' and 'Mary' are two names, 'Colin' and 'Colim' are one with a slip
SYLLABLE = re.compile(
    "(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?"
    "(?:iang|iong|uang|ueng|ang|eng|ing|ong|iao|ian|uai|uan|ai|ei|ao|ou|an|en|er|ia|ie|iu|in|ua|uo|ui|un|ue|ve|a|o|e|i|u|v)"
)


def compatible(left: str | None, right: str | None) -> bool:
    """Whether two given-name keys (a-z and spaces) may name one person; a missing one contradicts nothing.

    Names of as many syllables as pinyin has are compared syllable by syllable: Jianguo and Jianjun are brothers, not one man.
    """
    if not left or not right or left == right:
        return True
    left, right = left[:LONGEST], right[:LONGEST]
    if JaroWinkler.similarity(left, right) >= SIMILAR:
        spoken = _syllables(left.replace(" ", "")), _syllables(right.replace(" ", ""))
        if len(spoken[0]) != len(spoken[1]) or len(spoken[0]) < 2:
            return True
        return all(_slip(a, b) for a, b in zip(*spoken, strict=True))
    return any(_same_word(a, b) for a in left.split() for b in right.split())


def alike(left: str, right: str) -> bool:
    """Whether two given-name keys are one name, shortened or with a slip: what is left to say so where the birth dates say no."""
    if len(left) >= SHORTEST_SLIPPED <= len(right) and _slip(left[:LONGEST], right[:LONGEST]):
        return True
    return left == right or any(
        a == b or nicknames.same(a, b) or (1 in (len(a), len(b)) and a[0] == b[0])
        for a in left.split()
        for b in right.split()
    )


def people(given_keys: list[str]) -> list[list[str]]:
    """Group given names that may be one person's (single linkage), in a stable order.

    An initial joins the one name it can stand for; where it can stand for several people's it is nobody's, and joins none of them.
    """
    groups: list[list[str]] = []
    for name in sorted(set(given_keys), key=lambda name: (_only_initials(name), name)):
        near = [group for group in groups if any(compatible(name, other) for other in group)]
        if len(near) > 1 and _only_initials(name):
            near = []
        rest = [group for group in groups if group not in near]
        groups = [*rest, sorted([name, *(member for group in near for member in group)])]
    return sorted(groups)


def _only_initials(name: str) -> bool:
    return all(len(word) == 1 for word in name.split())


def _slip(a: str, b: str) -> bool:
    return DamerauLevenshtein.distance(a, b, score_cutoff=1) <= 1


@lru_cache(maxsize=100_000)
def _syllables(word: str) -> tuple[str, ...]:
    """The pinyin syllables of a word, the longest first; nothing where it has letters beside them."""
    found = tuple(SYLLABLE.findall(word))
    return found if sum(map(len, found)) == len(word) else ()


def _same_word(a: str, b: str) -> bool:
    if len(a) == 1 or len(b) == 1:
        return a[0] == b[0]
    if min(len(a), len(b)) >= SHORTEST_PREFIX and (a.startswith(b) or b.startswith(a)):
        return True
    return nicknames.same(a, b)
