"""The fields that tell people apart, and how alike two values of each can be.

Comparisons are built from the fields that a set of records has; every function makes fresh objects. A comparison's
levels go from the strongest agreement to none; what each is worth (m, u) is learnt from the data.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from identity import levels
from identity.levels import OTHERWISE, Test

COLUMNS = (
    "first", "root", "family", "words", "rest", "birth_date", "birth_full", "birth_year", "email", "email_user", "email_local", "phone",
    "postal_code", "district", "city", "region", "street", "gender", "occupation", "national_id",
)  # fmt: skip
OWN = ("email", "phone", "national_id")  # identifiers: what one person has, however many share it
LEAST_FILLED = 0.02  # a column filled more rarely teaches nothing and decides nothing


@dataclass(frozen=True)
class Comparison:
    """How one field is compared.

    Attributes:
        name: Of the comparison, unique.
        field: Column without which it does not exist.
        why: The reason it is there.
        tests: Levels, strongest first; the first is 'missing', the last 'different'.
    """

    name: str
    field: str
    why: str
    tests: tuple[Test, ...]

    def case(self, missing: str, values: Iterable[str]) -> str:
        """SQL over a pair: `missing` where a side says nothing, else the value of the first other level that holds."""
        nothing, *tests = self.tests
        cases = [
            f"else {value}" if test.sql == OTHERWISE else f"when {test.sql} then {value}"
            for test, value in zip(tests, values, strict=True)
        ]
        return f"case when {nothing.sql} then {missing} {' '.join(cases)} end"


def comparisons(present: frozenset[str]) -> list[Comparison]:
    """The comparisons that the present columns allow."""
    return [made for build in _ALL if (made := build(present)).field in present]


def _first(present: frozenset[str]) -> Comparison:
    why = "tells the people of one household apart; typed short, swapped with the family name, or as an initial"
    tests = [
        levels.missing("first"),
        levels.exact("first", rarity=True),
        levels.exact("root", label="a short form of it"),
        *_if("family" in present, levels.swapped("first", "family")),
        levels.similar("first", 0.9),
        levels.among("first", "words"),
        levels.initial("first"),
        levels.similar("first", 0.78),
        levels.otherwise(),
    ]
    return Comparison("first", "first", why, tuple(tests))


def _family(present: frozenset[str]) -> Comparison:
    why = "shared in households, misspelt at tills, one of several surnames; common ones weigh less"
    tests = [
        levels.missing("family"),
        levels.exact("family", rarity=True),
        *_if("first" in present, levels.swapped("first", "family")),
        levels.similar("family", 0.92),
        levels.among("family", "words", "first" if "first" in present else None),
        levels.similar("family", 0.8),
        levels.otherwise(),
    ]
    return Comparison("family", "family", why, tuple(tests))


def _rest(_: frozenset[str]) -> Comparison:
    why = "middle names and second surnames, where both sides give them"
    tests = (
        levels.missing("rest"),
        levels.exact("rest", rarity=True),
        levels.similar("rest", 0.88),
        levels.initial("rest"),
        levels.common_word("rest"),
        levels.otherwise(),
    )
    return Comparison("rest", "rest", why, tests)


def _birth_date(_: frozenset[str]) -> Comparison:
    why = "digits slip; 1 January stands for an unknown day and says no more than its year"
    tests = (
        levels.missing("birth_date"),
        levels.exact("birth_full", rarity=True),
        levels.exact("birth_date", label="the same year, both on 1 January"),
        levels.date_slips("birth_full", 1),
        levels.same_unless_full("birth_year", "birth_full", "the same year, one on 1 January"),
        levels.date_slips("birth_full", 2),
        levels.exact("birth_year", label="the same year"),
        levels.otherwise(),
    )
    return Comparison("birth_date", "birth_date", why, tests)


def _email(_: frozenset[str]) -> Comparison:
    why = "people change providers and keep the part before the @, unless that is only their name; addresses have slips"
    tests = (
        levels.missing_or_only("email", "email_user", "email_local"),
        levels.exact("email", rarity=True),
        levels.exact("email_local", label="the same before the @"),
        levels.similar_not_in_digits("email_local", 0.9),
        levels.slips("email", 1),
        levels.otherwise(),
    )
    return Comparison("email", "email", why, tests)


def _phone(_: frozenset[str]) -> Comparison:
    why = "shared by households, so one voice among others; a digit slips"
    tests = (
        levels.missing("phone"),
        levels.exact("phone", rarity=True),
        levels.slips("phone", 1),
        levels.otherwise(),
    )
    return Comparison("phone", "phone", why, tests)


def _postal_code(_: frozenset[str]) -> Comparison:
    why = "a household's or a street's; people move, mostly not far"
    tests = (
        levels.missing("postal_code"),
        levels.exact("postal_code", rarity=True),
        levels.slips("postal_code", 1),
        levels.exact("district", label="the same district"),
        levels.otherwise(),
    )
    return Comparison("postal_code", "postal_code", why, tests)


def _city(_: frozenset[str]) -> Comparison:
    why = "a weak sign alone, shared by many; spelt in many ways"
    tests = (
        levels.missing("city"),
        levels.exact("city", rarity=True),
        levels.similar("city", 0.88),
        levels.part("city"),
        levels.otherwise(),
    )
    return Comparison("city", "city", why, tests)


def _region(_: frozenset[str]) -> Comparison:
    why = "a state or province: weak, but a difference says something"
    return Comparison(
        "region", "region", why, (levels.missing("region"), levels.exact("region", rarity=True), levels.otherwise())
    )


def _street(_: frozenset[str]) -> Comparison:
    why = "the address of a household, typed with and without its details"
    tests = (
        levels.missing("street"),
        levels.exact("street", rarity=True),
        levels.similar("street", 0.9),
        levels.common_word("street"),
        levels.otherwise(),
    )
    return Comparison("street", "street", why, tests)


def _gender(_: frozenset[str]) -> Comparison:
    why = "half of all pairs agree; a difference tells couples and siblings apart"
    return Comparison("gender", "gender", why, (levels.missing("gender"), levels.exact("gender"), levels.otherwise()))


def _occupation(_: frozenset[str]) -> Comparison:
    why = "known for few, stable for most"
    tests = (levels.missing("occupation"), levels.exact("occupation", rarity=True), levels.otherwise())
    return Comparison("occupation", "occupation", why, tests)


def _national_id(_: frozenset[str]) -> Comparison:
    why = "issued to one person; typed with slips"
    tests = (
        levels.missing("national_id"),
        levels.exact("national_id", rarity=True),
        levels.slips("national_id", 1),
        levels.slips("national_id", 2),
        levels.otherwise(),
    )
    return Comparison("national_id", "national_id", why, tests)


def _if(condition: bool, *tests: Test) -> tuple[Test, ...]:
    return tests if condition else ()


_ALL: tuple[Callable[[frozenset[str]], Comparison], ...] = (
    _first, _family, _rest, _birth_date, _email, _phone, _postal_code, _city, _region, _street, _gender, _occupation, _national_id,
)  # fmt: skip
