"""A person's name as the words that linking compares: first, family, the rest; titles and particles left out."""

import re
from dataclasses import dataclass

from cdp.standard import names
from cdp.standard.nicknames import root

# Words that many names share and that name nobody: particles and ranks (titles are left out by `names.key`).
PARTICLES = (
    frozenset(
        [
            "of",
            "the",
            "de",
            "la",
            "le",
            "von",
            "van",
            "der",
            "den",
            "di",
            "da",
            "du",
            "del",
            "y",
            "and",
            "zu",
            "baron",
            "baronet",
            "baronetess",
            "marquess",
            "marquis",
            "duchess",
            "countess",
            "viscountess",
            "baroness",
            "earl",
            "lord",
            "sir",
            "lady",
            "dame",
            "duke",
            "viscount",
            "count",
            "prince",
            "princess",
            "hon",
            "rt",
            "st",
            "saint",
            "ii",
            "iii",
            "iv",
        ]
    )
    | names.TITLES
)
LONGEST, MOST = 40, 12  # letters of a word, words of a name: distances on more say nothing and cost their square
NUMBER = re.compile(r"\d+(st|nd|rd|th)?")


@dataclass(frozen=True)
class Words:
    """A name in pieces, all in the letters of `names.key`.

    Attributes:
        first: First given name.
        root: The name that `first` most often is a short form of.
        family: Last word of the family name.
        words: All words, sorted, each once, between single spaces (' anne clark '), so that a word is found by text.
        rest: Words that are neither first nor family, sorted.
    """

    first: str | None = None
    root: str | None = None
    family: str | None = None
    words: str | None = None
    rest: str | None = None


def words(given_key: str | None, family_key: str | None, full_key: str | None = None) -> Words:
    """Take name keys apart.

    Args:
        given_key: Given names.
        family_key: Family name.
        full_key: The whole name where it says more than the two parts do.
    """
    given, family = _kept(given_key), _kept(family_key)
    # a name written without spaces, as Chinese ones are, is no further word
    whole = {"".join(given + family), "".join(family + given)}
    every = sorted(set(given) | set(family) | set(_kept(full_key)) - whole)
    first = given[0] if given else None
    last = family[-1] if family else None
    rest = [word for word in every if word not in (first, last)]
    return Words(
        first=first,
        root=root(first) if first else None,
        family=last,
        words=f" {' '.join(every)} " if every else None,
        rest=" ".join(rest) or None,
    )


def telling(user: str | None, first: str | None, family: str | None) -> str | None:
    """The part of an e-mail before the @ where it says more than the name does: 'jsmith' of Jane Smith says nothing new."""
    if not user or sum(letter.isdigit() for letter in user) > 1:
        return user or None
    f, g = family or "", first or ""
    made = {g + f, f + g, g[:1] + f, f + g[:1], g + f[:1], g, f}
    return None if re.sub(r"[^a-z]", "", user) in made else user


def _kept(key: str | None) -> list[str]:
    every = [w for w in (key or "").split() if not NUMBER.fullmatch(w)]
    kept = [
        w for w in every if w not in PARTICLES
    ] or every  # Du and Le are families, Y. may be all that is written of a name
    return [word[:LONGEST] for word in kept[:MOST]]
