"""From a file's columns to the columns that linking compares; every distinct value is read once."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.standard import contact, dates, names, place
from cdp.standard.words import telling, words
from identity import fields
from identity.files.mapping import Mapping

LONGEST = 200  # letters that are compared: distances cost the square of their number
NOTHING = r"(?i)^(null|none|nil|undefined|unknown|n/?a|nan|-+|\.+|\?+|未知|无|不详)$"
WHOLE_NUMBER = r"^(\d+)\.0+$"  # a table with gaps makes 13800138000.0 of a number
ROUNDED = re.compile(r"\d+([.,]\d+)?[eE]\+?\d+")  # what a spreadsheet left of a long number
AGE = re.compile(r"\d{1,3}")
AGES_OF = 2000  # the ages of one file differ as the years of birth do, whenever it was written
GENDERS = {
    "m": "m",
    "male": "m",
    "man": "m",
    "男": "m",
    "男性": "m",
    "f": "f",
    "female": "f",
    "woman": "f",
    "女": "f",
    "女性": "f",
}


def people(frame: pl.DataFrame, mapping: Mapping, regions: tuple[str, ...], rules: IdentityRules) -> pl.DataFrame:
    """One row a row of the file, with those of `fields.COLUMNS` that it has.

    Args:
        frame: The file as text.
        mapping: Which column says what.
        regions: Countries in which to read a bare phone number.
        rules: Values that identify nobody.
    """
    said = {field: _said(frame, field, columns) for field, columns in mapping.used.items()}
    made: dict[str, pl.Series] = {}
    for build in (_names, _birth, _contacts(regions, rules), _places, _others):
        made |= build(said)
    if "email" in made:
        nobody = pl.repeat(None, len(frame), dtype=pl.String, eager=True)
        made["email_local"] = each(telling, made["email_user"], made.get("first", nobody), made.get("family", nobody))
    return pl.DataFrame({name: made[name].str.slice(0, LONGEST) for name in fields.COLUMNS if name in made})


def _said(frame: pl.DataFrame, field: str, columns: tuple[str, ...]) -> pl.Series:
    """The text of a field; values that say nothing are missing. Several columns: the first that says something."""
    cleaned = [
        pl.when(pl.col(c).str.strip_chars().str.contains(NOTHING))
        .then(None)
        .otherwise(pl.col(c).str.strip_chars().str.replace(WHOLE_NUMBER, "$1"))
        .replace("", None)
        for c in columns
    ]
    joined = pl.concat_str(cleaned, separator=" ", ignore_nulls=True) if field in JOINED else pl.coalesce(cleaned)
    return frame.select(joined.replace("", None).alias(field))[field]


JOINED = ("street", "street_more", "given_name", "middle_name")


def each(read: Callable[..., Any], *series: pl.Series, kind: Any = pl.String) -> pl.Series:
    """`read` over rows of values, each distinct row once."""
    frame = pl.DataFrame({str(at): s for at, s in enumerate(series)})
    distinct = frame.unique(maintain_order=True)
    found = pl.Series("read", [read(*row) for row in distinct.iter_rows()], dtype=kind)
    return frame.join(
        distinct.with_columns(found), on=frame.columns, how="left", nulls_equal=True, maintain_order="left"
    )["read"]


def _names(said: dict[str, pl.Series]) -> dict[str, pl.Series]:
    if "given_name" not in said and {"full_name", "family_name"} <= said.keys() and _is_given(said):
        said = {**said, "given_name": said["full_name"]}
        del said["full_name"]
    if "family_name" not in said and {"full_name", "given_name"} <= said.keys() and _is_family(said):
        said = {**said, "family_name": said["full_name"]}
        del said["full_name"]
    given = ("given_name", "middle_name")
    family = ("family_name", "second_family_name")
    named = [name for name in (*given, *family, "full_name") if name in said]
    if not named:
        return {}

    def read(*values: str | None) -> dict[str, str | None]:
        value = dict(zip(named, values, strict=True))
        alone = "given_name" in value and not value["given_name"]  # a middle name is nobody's given name
        middle = names.key(value.get("middle_name") or "") if alone else None
        first = "" if alone else " ".join(v for n in given if (v := value.get(n)))
        last = " ".join(v for n in family if (v := value.get(n)))
        full = value.get("full_name")
        if full and last and not first:  # `name, surname`: the name without the surname
            first = names.without(full, last)
        parts = names.name(first or None, last or None, None if first or last else full)
        whole = None if names.CJK.search(full or "") else names.key((full or "").replace(",", " "))
        found = vars(words(parts.given_key, parts.family_key, whole))
        rest = sorted({*(found["rest"] or "").split(), *(middle or "").split()})
        return {**found, "rest": " ".join(rest) or None}

    columns = ("first", "root", "family", "words", "rest")
    found = each(read, *(said[name] for name in named), kind=pl.Struct(dict.fromkeys(columns, pl.String)))
    return {name: found.struct.field(name) for name in columns}


def _is_given(said: dict[str, pl.Series]) -> bool:
    """Whether `name` beside `surname` is the given name: mostly it does not hold the surname."""
    return _mostly_without(said["full_name"], said["family_name"])


def _is_family(said: dict[str, pl.Series]) -> bool:
    """Whether `Name` beside `Vorname` is the family name: mostly it does not hold the given name."""
    return _mostly_without(said["full_name"], said["given_name"])


def _mostly_without(whole: pl.Series, part: pl.Series) -> bool:
    both = pl.DataFrame([whole.alias("whole"), part.alias("part")]).drop_nulls().unique()
    told = [not names.without(full, one) for full, one in both.iter_rows() if full != one]
    return sum(told) > len(told) / 2


def _birth(said: dict[str, pl.Series]) -> dict[str, pl.Series]:
    if "birth_date" in said:
        how = dates.writing(said["birth_date"].drop_nulls().unique().to_list())
        date = each(lambda raw: dates.date_text(raw, how), said["birth_date"])
    elif "birth_year" in said:
        month = said.get("birth_month", pl.repeat(None, len(said["birth_year"]), dtype=pl.String, eager=True))
        day = said.get("birth_day", pl.repeat(None, len(month), dtype=pl.String, eager=True))
        date = each(
            lambda y, m, d: dates.date_text(f"{y}-{m or 1}-{d or 1}") if y else None, said["birth_year"], month, day
        )
    elif "age" in said:
        date = each(lambda age: f"{AGES_OF - int(age)}-01-01" if AGE.fullmatch(age or "") else None, said["age"])
    else:
        return {}
    return {
        "birth_date": date,
        "birth_full": each(lambda d: dates.parts(d)[0], date),
        "birth_year": each(lambda d: dates.parts(d)[1], date),
    }


def _contacts(regions: tuple[str, ...], rules: IdentityRules) -> Callable[[dict[str, pl.Series]], dict[str, pl.Series]]:
    def build(said: dict[str, pl.Series]) -> dict[str, pl.Series]:
        made = {}
        if "email" in said:
            made["email"] = each(lambda raw: _allowed(rules, "email", _email(raw)), said["email"])
            made["email_user"] = each(lambda email: (email or "").split("@")[0] or None, made["email"])
        if "phone" in said:
            read_in = (*contact.regions_named(said["phone"].drop_nulls().unique().to_list()), *regions)
            made["phone"] = each(lambda raw: _allowed(rules, "phone", _phone(raw, read_in)), said["phone"])
        return made

    return build


def _email(raw: str | None) -> str | None:
    return (contact.email(raw) or (names.key(raw.replace("@", " ")) and raw.casefold())) if raw else None


def _phone(raw: str | None, regions: tuple[str, ...]) -> str | None:
    if ROUNDED.fullmatch(raw or ""):
        return None
    digits = re.sub(r"\D", "", raw or "")
    return contact.phone(raw, regions) or digits if raw and len(digits) >= 6 else None


def _allowed(rules: IdentityRules, kind: str, value: str | None) -> str | None:
    patterns: Iterable[str] = (*rules.blocked.get("any", ()), *rules.blocked.get(kind, ()))  # type: ignore[call-overload]
    return None if value is None or any(re.search(pattern, value.lower()) for pattern in patterns) else value


def _places(said: dict[str, pl.Series]) -> dict[str, pl.Series]:
    made = {}
    if "postal_code" in said:
        made["postal_code"] = each(place.postal_code, said["postal_code"])
        made["district"] = each(place.district, made["postal_code"])
    for field in ("city", "region"):
        if field in said:
            made[field] = each(names.key, said[field])
    streets = [said[name] for name in ("street_number", "street", "street_more") if name in said]
    if streets:
        made["street"] = each(lambda *values: names.key(" ".join(v for v in values if v)), *streets)
    return made


def _others(said: dict[str, pl.Series]) -> dict[str, pl.Series]:
    made = {}
    if "gender" in said:
        made["gender"] = each(lambda raw: GENDERS.get((raw or "").strip().lower(), raw and raw.lower()), said["gender"])
    if "occupation" in said:
        made["occupation"] = each(names.key, said["occupation"])
    if "national_id" in said:
        made["national_id"] = each(lambda raw: re.sub(r"\W", "", raw or "").upper() or None, said["national_id"])
    return made
