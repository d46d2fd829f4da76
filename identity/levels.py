"""What two values can have in common: each test once as SQL, for Splink to learn and the batch to weigh by, and once as plain code for the live scorer.

The two must agree on every pair of values, null and empty ones included; `tests/identity/test_scorer.py` holds them
together. Distances run on UTF-8 bytes, as DuckDB's do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

Values = Mapping[str, Any]
DATE_PARTS = ((1, 4), (6, 2), (9, 2))  # year, month, day: where each begins, counted from one, and its length
ALIKE = 0.88  # Jaro–Winkler similarity of a name that changed places with another and has a slip
OTHERWISE = "ELSE"  # the condition of the last test, as Splink writes it
Holds = Callable[[Values, Values], bool]


@dataclass(frozen=True)
class Test:
    """A condition on a pair of records.

    Attributes:
        label: In words, for charts and explanations.
        sql: Over `<column>_l` and `<column>_r`; null counts as false.
        holds: The same in Python over two mappings of column to text or None.
        term_frequency: Column whose rare values weigh more when this test holds.
    """

    label: str
    sql: str
    holds: Holds
    term_frequency: str | None = None


def missing(column: str) -> Test:
    """Either side says nothing: no evidence."""
    return Test(
        f"no {column}",
        f"{column}_l is null or {column}_r is null",
        lambda left, right: left[column] is None or right[column] is None,
    )


def missing_or_only(column: str, part: str, telling: str) -> Test:
    """No value, or different ones whose common part tells nothing: no evidence either way.

    Args:
        column: The whole value.
        part: A part of it.
        telling: That part where it says more than other fields do, else null.
    """
    return Test(
        f"no {column}, or only a name in common",
        f"{column}_l is null or {column}_r is null or "
        f"({column}_l <> {column}_r and {part}_l = {part}_r and {telling}_l is null and {telling}_r is null)",
        lambda left, right: (
            left[column] is None
            or right[column] is None
            or (
                left[column] != right[column]
                and left[part] is not None
                and left[part] == right[part]
                and left[telling] is None
                and right[telling] is None
            )
        ),
    )


def exact(column: str, *, rarity: bool = False, label: str = "the same") -> Test:
    """Equal text."""
    return Test(
        label,
        f"{column}_l = {column}_r",
        lambda left, right: left[column] is not None and left[column] == right[column],
        column if rarity else None,
    )


def similar(column: str, at_least: float) -> Test:
    """Jaro–Winkler similarity of at least this much."""
    return Test(
        f"similar (Jaro–Winkler {at_least})",
        f"jaro_winkler_similarity({column}_l, {column}_r) >= {at_least}",
        lambda left, right: _jaro_winkler(left[column], right[column]) >= at_least,
    )


def similar_not_in_digits(column: str, at_least: float) -> Test:
    """Jaro–Winkler similarity of at least this much, with the same digits; at most one slip where these differ.

    Addresses made of a name and a number are alike wherever the name is, which other fields have said: the number tells.
    """
    one, other = f"{column}_l", f"{column}_r"
    digits = f"regexp_replace({one}, '[^0-9]', '', 'g') = regexp_replace({other}, '[^0-9]', '', 'g')"
    return Test(
        f"similar (Jaro–Winkler {at_least}), with the same number or one slip",
        f"jaro_winkler_similarity({one}, {other}) >= {at_least} and ({digits} or damerau_levenshtein({one}, {other}) <= 1)",
        lambda left, right: (
            _jaro_winkler(left[column], right[column]) >= at_least
            and (_digits(left[column]) == _digits(right[column]) or _slips(left[column], right[column], 1))
        ),
    )


def slips(column: str, at_most: int) -> Test:
    """At most so many letters typed wrong, left out, added or swapped with a neighbour.

    A distance costs the product of two lengths and most pairs are far apart: in SQL it is asked only where it can be one.
    Texts of one length then differ in two places at most; of two that do not, the first or the last half is the same.
    """
    one, other = f"{column}_l", f"{column}_r"
    half = f"(least(length({one}), length({other})) - 1) // 2"
    near = (
        f"case when {one} = {other} then true when strlen({one}) = strlen({other}) then hamming({one}, {other}) <= 2 "
        f"when abs(strlen({one}) - strlen({other})) = 1 "
        f"then left({one}, {half}) = left({other}, {half}) or right({one}, {half}) = right({other}, {half}) else false end and "
    )
    return Test(
        _at_most(at_most),
        f"{near if at_most == 1 else ''}damerau_levenshtein({one}, {other}) <= {at_most}",
        lambda left, right: _slips(left[column], right[column], at_most),
    )


def date_slips(column: str, at_most: int) -> Test:
    """A date (YYYY-MM-DD) with at most so many slips: each stays within year, month or day, so the others are the same."""
    same = [f"substr({column}_l, {start}, {size}) = substr({column}_r, {start}, {size})" for start, size in DATE_PARTS]
    equal = " + ".join(f"cast({each} as integer)" for each in same)
    return Test(
        _at_most(at_most),
        f"({equal}) >= {len(same) - at_most} and damerau_levenshtein({column}_l, {column}_r) <= {at_most}",
        lambda left, right: _same_parts(left[column], right[column]) >= len(same) - at_most and _slips(left[column], right[column], at_most),
    )  # fmt: skip


def swapped(column: str, other: str) -> Test:
    """The two fields changed places; one of them may be written a little otherwise."""
    crossed = [
        (f"{column}_l", f"{other}_r", f"{other}_l", f"{column}_r"),
        (f"{column}_r", f"{other}_l", f"{other}_r", f"{column}_l"),
    ]
    return Test(
        f"{column} and {other} swapped, one with slips at most",
        " or ".join(f"({a} = {b} and jaro_winkler_similarity({c}, {d}) >= {ALIKE})" for a, b, c, d in crossed),
        lambda left, right: _crossed(left, right, column, other) or _crossed(right, left, column, other),
    )  # fmt: skip


def among(column: str, words: str, other: str | None = None) -> Test:
    """One side's value is one of the other side's words; where an `other` field is named, not the one in that field.

    That somebody's family name is somebody else's given name is one coincidence, which else both fields would count.
    """
    sides = []
    for one, two in (("l", "r"), ("r", "l")):
        beside = f" and {column}_{one} is distinct from {other}_{two}" if other else ""
        sides.append(f"(contains({words}_{two}, ' ' || {column}_{one} || ' '){beside})")
    return Test(
        f"among the other's names but the {other}" if other else "among the other's names",
        " or ".join(sides),
        lambda left, right: _among(left, right, column, words, other) or _among(right, left, column, words, other),
    )


def common_word(column: str) -> Test:
    """A word in common."""
    return Test(
        "a word in common",
        f"len(list_intersect(string_split({column}_l, ' '), string_split({column}_r, ' '))) > 0",
        lambda left, right: (
            left[column] is not None
            and right[column] is not None
            and not set(left[column].split(" ")).isdisjoint(right[column].split(" "))
        ),
    )


def initial(column: str) -> Test:
    """One side gives only the first letter of the other's."""
    return Test(
        "initial",
        f"(length({column}_l) = 1 or length({column}_r) = 1) and left({column}_l, 1) = left({column}_r, 1)",
        lambda left, right: (
            bool(left[column] and right[column])
            and 1 in (len(left[column]), len(right[column]))
            and left[column][0] == right[column][0]
        ),
    )


def part(column: str) -> Test:
    """One side's text holds the other's."""
    return Test(
        "part of the other",
        f"contains({column}_l, {column}_r) or contains({column}_r, {column}_l)",
        lambda left, right: (
            left[column] is not None
            and right[column] is not None
            and (right[column] in left[column] or left[column] in right[column])
        ),
    )


def same_unless_full(column: str, full: str, label: str) -> Test:
    """Equal in the coarse column, while a side lacks the full one."""
    return Test(
        label,
        f"{column}_l = {column}_r and ({full}_l is null or {full}_r is null)",
        lambda left, right: (
            left[column] is not None and left[column] == right[column] and (left[full] is None or right[full] is None)
        ),
    )


def otherwise() -> Test:
    """Everything else."""
    return Test("different", OTHERWISE, lambda left, right: True)


def _jaro_winkler(left: str | None, right: str | None) -> float:
    if not left or not right:  # DuckDB finds two empty texts unlike
        return -1.0
    return JaroWinkler.similarity(left.encode(), right.encode())


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter in "0123456789")


def _slips(left: str | None, right: str | None, at_most: int) -> bool:
    if left is None or right is None:
        return False
    return DamerauLevenshtein.distance(left.encode(), right.encode(), score_cutoff=at_most) <= at_most


def _at_most(slips: int) -> str:
    return f"at most {slips} slip{'s' if slips > 1 else ''}"


def _same_parts(left: str | None, right: str | None) -> int:
    if left is None or right is None:
        return -1
    return sum(left[start - 1 : start - 1 + size] == right[start - 1 : start - 1 + size] for start, size in DATE_PARTS)


def _crossed(left: Values, right: Values, column: str, other: str) -> bool:
    same = left[column] is not None and left[column] == right[other]
    return same and _jaro_winkler(left[other], right[column]) >= ALIKE


def _among(left: Values, right: Values, column: str, words: str, other: str | None) -> bool:
    value, said = left[column], right[words]
    if value is None or said is None or (other and value == right[other]):
        return False
    return f" {value} " in said
