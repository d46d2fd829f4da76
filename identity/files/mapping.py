"""Which column of a file says what: guessed from the names of columns (see `vocabulary`), or read from a YAML file."""

import itertools
import re
import unicodedata
from collections.abc import Sequence

from pydantic import field_validator

from cdp.errors import ConfigError
from cdp.standard import names
from cdp.strict import Strict
from identity.files import vocabulary
from identity.files.vocabulary import NAMES, WITHIN

REQUIRED = 2
LONG = 5  # letters: `mobileno` is a mobile, `ethnicity` no city


class Mapping(Strict):
    """Field → column, or columns in order of trust (phones) or of writing (street)."""

    id: str | None = None
    given_name: tuple[str, ...] = ()
    middle_name: tuple[str, ...] = ()
    family_name: tuple[str, ...] = ()
    second_family_name: tuple[str, ...] = ()
    full_name: tuple[str, ...] = ()
    birth_date: tuple[str, ...] = ()
    birth_year: tuple[str, ...] = ()
    birth_month: tuple[str, ...] = ()
    birth_day: tuple[str, ...] = ()
    age: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    phone: tuple[str, ...] = ()
    postal_code: tuple[str, ...] = ()
    city: tuple[str, ...] = ()
    street: tuple[str, ...] = ()
    street_number: tuple[str, ...] = ()
    street_more: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    gender: tuple[str, ...] = ()
    occupation: tuple[str, ...] = ()
    national_id: tuple[str, ...] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _one_or_more(cls, value: object, info: object) -> object:
        return (value,) if isinstance(value, str) and info.field_name != "id" else value  # type: ignore[attr-defined]

    @property
    def used(self) -> dict[str, tuple[str, ...]]:
        """Fields of the person that a column says, without the id."""
        return {field: columns for field, columns in self if field != "id" and columns}

    def check(self, columns: Sequence[str]) -> None:
        """Refuse a mapping that names absent columns or too few.

        Raises:
            ConfigError: It says which columns there are.
        """
        wanted = [self.id] if self.id else []
        wanted += [column for named in self.used.values() for column in named]
        if absent := sorted(set(wanted) - set(columns)):
            raise ConfigError(f"the file has no column {', '.join(absent)}", f"its columns are: {', '.join(columns)}")
        if len(self.used) < REQUIRED and not self.used.keys() & vocabulary.EACH:
            raise ConfigError(
                f"only {len(self.used)} of the columns could be read as facts about a person: {', '.join(columns)}",
                "write a mapping (given_name: COLUMN, family_name: COLUMN, birth_date: COLUMN, email: COLUMN, …) and pass it "
                "with --mapping FILE.yaml",
            )


def guess(columns: Sequence[str], leave_out: Sequence[str] = (), filled: dict[str, int] | None = None) -> Mapping:
    """Guess from names.

    Args:
        columns: The file's.
        leave_out: Never read (the truth).
        filled: How many rows say something in a column: of several ids of a person (passport, tax) the fullest is compared.
    """
    plain = {column: _plain(column) for column in columns if column not in leave_out}
    usual = {word: field for field, words in reversed(NAMES.items()) for word in words.split()}
    found: dict[str, list[str]] = {}
    for column, name in plain.items():
        bare = re.sub(r"\d+$", "", name)
        if field := usual.get(name) or (usual.get(bare) if bare and field_repeats(usual.get(bare)) else None):
            found.setdefault(field, []).append(column)
    around = {field: frozenset({field}) for field in found}
    for column in plain:
        if not any(column in named for named in found.values()):
            field, words = _without_what_is_around(column, usual)
            # one address: Home Street 1 and 2, not Business Street beside them
            more = field in vocabulary.EACH or (field_repeats(field) and field in around and around[field] == words)
            more = more or all(plain[named] in vocabulary.AT_LAST for named in found.get(field or "", ()))
            if field and (field not in found or more):
                found.setdefault(field, []).append(column)
                around.setdefault(field, words)
    for column, name in plain.items():
        if not any(column in named for named in found.values()):
            for word, field in WITHIN.items():
                if field not in found and _holds(column, name, word):
                    found[field] = [column]
                    break
    ids = found.pop("id", [])
    ranked = {field: tuple(sorted(named, key=lambda c: _rank(field, plain[c]))) for field, named in found.items()}
    if "national_id" in ranked:
        ranked["national_id"] = (max(ranked["national_id"], key=lambda column: (filled or {}).get(column, 0)),)
    if "birth_date" in ranked and "birth_year" not in ranked:
        ranked.pop("birth_day", None)
    if {"birth_date", "birth_year"} & ranked.keys():
        ranked.pop("age", None)
    return Mapping(id=min(ids, key=lambda c: _rank("id", plain[c])) if ids else None, **ranked)


def field_repeats(field: str | None) -> bool:
    """Fields of which a file may have several numbered columns (`phone1`, `phone2`)."""
    return field in {*vocabulary.CONTACTS, "street", "street_more"}


def _without_what_is_around(column: str, usual: dict[str, str]) -> tuple[str | None, frozenset[str]]:
    """The field that a column's usual name says, and the words around it that were left out."""
    parts = [vocabulary.WRITTEN_SHORT.get(part, part) for part in _parts(column)]
    if _something_else(column):
        return None, frozenset()
    marks = frozenset(parts) & vocabulary.HOW_WRITTEN
    for around in (
        vocabulary.AROUND,
        vocabulary.AROUND | {"address"},
        vocabulary.AROUND | vocabulary.AT_WORK | {"address"},
    ):
        for without in (frozenset[str](), marks):
            kept = [part for part, _ in itertools.groupby(part for part in parts if part not in around | without)]
            words = frozenset(parts) - set(kept) - marks
            field = _usual(kept, usual)
            if field and _may_stand(field, kept, words) and (not without or field in vocabulary.WRITTEN_SO):
                return field, words
    return None, frozenset()


def _something_else(column: str) -> bool:
    return bool(vocabulary.SOMETHING_ELSE & set(_parts(column))) or _plain(column).endswith(vocabulary.A_PART)


def _usual(kept: list[str], usual: dict[str, str]) -> str | None:
    turned = len(kept) == 2 and kept[0] == "name" and kept[1] in vocabulary.TURNED
    return usual.get("".join(reversed(kept) if turned else kept))


def _may_stand(field: str, kept: list[str], words: frozenset[str]) -> bool:
    """Whether a name with these words left out still says the field."""
    if kept[0] in vocabulary.HALF and len(kept) == 1:
        return False
    if field in {"id", "full_name"}:
        return words <= (vocabulary.OF_SOMEBODY if field == "id" else vocabulary.WHOSE_NAME)
    return field in vocabulary.CONTACTS or not words & vocabulary.AT_WORK


def _parts(column: str) -> list[str]:
    """The words of a column's name: `ADDR_LINE1`, `Addr Line 1` and `addrLine1` are `addr`, `line`."""
    return [piece.lower() for piece in re.split(r"[\W_\d]+|(?<=[a-z])(?=[A-Z])", column) if piece]


def _holds(column: str, name: str, word: str) -> bool:
    """Whether a column's name has this word in it: as a whole, or at the end of a part where it is long enough to be meant."""
    if not word.isascii():
        return word in name and not any(another in name for another in vocabulary.ANOTHERS)
    if _something_else(column):
        return False
    parts = _parts(column)
    several = {"".join(parts[start:end]) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1)}
    return word in several or (
        len(word) >= LONG and any(part.startswith(word) or part.endswith(word) for part in parts)
    )


def _rank(field: str, name: str) -> int:
    words = NAMES[field].split()
    if name in vocabulary.AT_LAST:
        return len(words) + 1
    return words.index(name) if name in words else len(words)


def _plain(column: str) -> str:
    """Letters and digits alone, in one width, without accents and in simplified characters."""
    return re.sub(r"[\W_]+", "", names.simplified(unicodedata.normalize("NFKD", column))).casefold()
