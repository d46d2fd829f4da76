"""Which column of a file says what: guessed from column names, English or Chinese, or read from a YAML file."""

import re
import unicodedata
from collections.abc import Sequence

from pydantic import field_validator

from cdp.errors import ConfigError
from cdp.standard import names
from cdp.strict import Strict
from identity.files.vocabulary import (
    AROUND,
    AT_WORK,
    CONTACTS,
    EACH,
    HALF,
    NAMES,
    OF_SOMEBODY,
    SOMETHING_ELSE,
    WITHIN,
    WRITTEN_SHORT,
)  # fmt: skip

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
        if len(self.used) < REQUIRED:
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
    around: dict[str, frozenset[str]] = {field: frozenset({field}) for field in found if field not in EACH}
    for column in plain:
        if not any(column in named for named in found.values()):
            field, words = _without_what_is_around(column, usual)
            if field and (field not in found or (field_repeats(field) and around.get(field, words) == words)):
                found.setdefault(field, []).append(column)
                if field not in EACH:  # one address: Home Street 1 and 2, not Business Street beside them
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
    return Mapping(id=min(ids, key=lambda c: _rank("id", plain[c])) if ids else None, **ranked)


def field_repeats(field: str | None) -> bool:
    """Fields of which a file may have several numbered columns (`phone1`, `phone2`)."""
    return field in {*EACH, "street", "street_more"}


def _without_what_is_around(column: str, usual: dict[str, str]) -> tuple[str | None, frozenset[str]]:
    """The field that a column's usual name says, and the words around it that were left out."""
    parts = [WRITTEN_SHORT.get(part, part) for part in _parts(column)]
    if SOMETHING_ELSE & set(parts):
        return None, frozenset()
    for around in (AROUND, AROUND | {"address"}, AROUND | AT_WORK | {"address"}):
        kept = [part for part in parts if part not in around]
        words = frozenset(parts) - set(kept)
        field = usual.get("".join(kept)) or (usual.get("".join(reversed(kept))) if len(kept) == 2 else None)
        if not field or (len(kept) == 1 and kept[0] in HALF):
            continue
        if (field == "id" and not words <= OF_SOMEBODY) or (words & AT_WORK and field not in CONTACTS):
            continue
        return field, words
    return None, frozenset()


def _parts(column: str) -> list[str]:
    """The words of a column's name: `ADDR_LINE1`, `Addr Line 1` and `addrLine1` are `addr`, `line`."""
    return [piece.lower() for piece in re.split(r"[\W_\d]+|(?<=[a-z])(?=[A-Z])", column) if piece]


def _holds(column: str, name: str, word: str) -> bool:
    """Whether a column's name has this word in it: as a whole, or at the end of a part where it is long enough to be meant."""
    if not word.isascii():
        return word in name
    parts = _parts(column)
    if SOMETHING_ELSE & set(parts):
        return False
    several = {"".join(parts[start:end]) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1)}
    return word in several or (
        len(word) >= LONG and any(part.startswith(word) or part.endswith(word) for part in parts)
    )


def _rank(field: str, name: str) -> int:
    words = NAMES[field].split()
    return words.index(name) if name in words else len(words)


def _plain(column: str) -> str:
    """Letters and digits alone, in one width, without accents and in simplified characters."""
    return re.sub(r"[\W_]+", "", names.simplified(unicodedata.normalize("NFKD", column))).casefold()
