"""Dictionaries from what sources wrote to what it stands for; each distinct value is read once, ever."""

import hashlib
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.lake import build, register
from cdp.lake.engine import Lake
from cdp.standard import contact, names
from cdp.standard.words import words

LONGEST_CITY = 80
BLOCKED = "core__blocked_patterns"
PATTERN = {"type": pl.String, "pattern": pl.String}


@dataclass(frozen=True)
class Dictionary:
    """A table from values as written to what they stand for.

    Attributes:
        table: Its name.
        keys: Columns of the value as written.
        meanings: Columns of what it stands for, with their types.
        distinct: A select of the values that occur.
        inputs: The tables that select reads.
    """

    table: str
    keys: tuple[str, ...]
    meanings: dict[str, Any]
    distinct: str
    inputs: tuple[str, ...]


INPUTS = ("core__consent_statements", "core__party_mentions")
_TWICE = "select distinct {0} from (select {0} from core__party_mentions union all select {0} from core__consent_statements) as seen where {0} is not null"
NAMED = ("given_name", "family_name", "full_name", "given_key", "family_key", "full_key")
EMAILS = Dictionary("core__standard_emails", ("raw",), {"email": pl.String}, _TWICE.format("email"), INPUTS)
PHONES = Dictionary("core__standard_phones", ("raw",), {"phone": pl.String}, _TWICE.format("phone"), INPUTS)
NAMES = Dictionary(
    "core__standard_names",
    ("raw_given", "raw_family", "raw_full"),
    {**dict.fromkeys(NAMED, pl.String), "is_full_name": pl.Boolean},
    "select distinct given_name, family_name, full_name from core__party_mentions "
    "where coalesce(given_name, family_name, full_name) is not null",
    INPUTS,
)
WORDS = Dictionary(
    "core__name_words",
    ("given_key", "family_key"),
    dict.fromkeys(("first", "root", "family", "words", "rest"), pl.String),
    "select distinct given_key, family_key from core__contact_records where is_full_name",
    ("core__contact_records",),
)
CITIES = Dictionary(
    "core__city_keys",
    ("raw",),
    {"city": pl.String},
    "select distinct city from core__contact_records where city is not null",
    ("core__contact_records",),
)


def build_dictionaries(lake: Lake, regions: tuple[str, ...], rules: IdentityRules) -> list[build.Built]:
    """Read every value that is new; a change of `regions` reads the phones again."""
    return [
        _extend(lake, EMAILS, "1", lambda raw: (contact.email(raw),)),
        _extend(lake, PHONES, repr(regions), lambda raw: (contact.phone(raw, regions),)),
        _extend(lake, NAMES, "2", _read_name),
        _patterns(lake, rules),
    ]


def build_keys(lake: Lake) -> list[build.Built]:
    """Names in the words that linking compares, and places in plain letters."""
    return [
        _extend(lake, WORDS, "2", lambda given, family: astuple(words(given, family))),
        _extend(lake, CITIES, "2", lambda raw: ((names.key(raw) or "")[:LONGEST_CITY] or None,)),
    ]


def _read_name(given: str | None, family: str | None, full: str | None) -> tuple[object, ...]:
    read = names.name(given, family, full)
    return (read.given, read.family, read.full, read.given_key, read.family_key, read.full_key, read.is_full)


@build.timed
def _extend(lake: Lake, book: Dictionary, rule: str, read: Callable[..., tuple[object, ...]]) -> build.Built:
    """Add the values that the dictionary lacks. `rule` names the reading rule; another rule starts afresh."""
    table = book.table
    mark = build.fingerprint(lake, book.inputs, rule, "dictionary 1")
    if register.recorded(lake, table) == mark:
        return build.Built(table, build.rows(lake, table), changed=False)
    rule_table = f"{table}#rule"
    rule_mark = hashlib.sha256(rule.encode()).hexdigest()
    known_rule = register.recorded(lake, rule_table)
    fresh = not lake.exists(table) or known_rule != rule_mark
    missing = book.distinct if fresh else f"{book.distinct} except select {', '.join(book.keys)} from {table}"
    rows = [(*values, *read(*values)) for values in lake.rows(missing)]
    schema: dict[str, Any] = {**dict.fromkeys(book.keys, pl.String), **book.meanings}
    frame = pl.DataFrame(rows, schema=schema, orient="row")

    def write() -> None:
        verb = "create or replace table lake.main.{} as" if fresh else "insert into lake.main.{}"
        with build.incoming(lake, frame.to_arrow()):
            lake.connection.execute(f"{verb.format(table)} from incoming")
        register.record(lake, table, mark)
        register.record(lake, rule_table, rule_mark)

    lake.write(write, f"extend {table}")
    return build.Built(table, build.rows(lake, table), changed=bool(rows), made=len(rows))


def bound(lake: Lake, query: str) -> dict[str, str] | None:
    """Parameters of a standardising select: `$blocked` takes whatever some pattern of `core__blocked_patterns` takes."""
    if "$blocked" not in query:
        return None
    any_of = f"select coalesce(string_agg('(?:' || pattern || ')', '|' order by pattern), '$.') from {BLOCKED}"
    return {"blocked": str(lake.scalar(any_of))}


def _patterns(lake: Lake, rules: IdentityRules) -> build.Built:
    rows = [(kind, pattern) for kind, patterns in sorted(rules.blocked.items()) for pattern in patterns]
    mark = build.fingerprint(lake, (), rows)
    return build.build_table(lake, BLOCKED, mark, lambda: pl.DataFrame(rows, schema=PATTERN, orient="row").to_arrow())
