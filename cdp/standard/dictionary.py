"""Dictionaries from what sources wrote to what it stands for; each distinct value is read once, ever."""

import hashlib
from collections.abc import Callable

import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.lake import build, register
from cdp.lake.engine import Lake
from cdp.standard import contact, names

EMAILS, PHONES, NAMES, BLOCKED = (
    "core__standard_emails",
    "core__standard_phones",
    "core__standard_names",
    "core__blocked_patterns",
)
SCHEMAS: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    EMAILS: {"raw": pl.String, "email": pl.String},
    PHONES: {"raw": pl.String, "phone": pl.String},
    NAMES: {
        "raw_given": pl.String,
        "raw_family": pl.String,
        "raw_full": pl.String,
        "given_name": pl.String,
        "family_name": pl.String,
        "full_name": pl.String,
        "given_key": pl.String,
        "family_key": pl.String,
        "full_key": pl.String,
        "is_full_name": pl.Boolean,
    },
    BLOCKED: {"type": pl.String, "pattern": pl.String},
}
DISTINCT = {
    EMAILS: "select distinct email from (select email from core__party_mentions union all "
    "select email from core__consent_statements) as seen where email is not null",
    PHONES: "select distinct phone from (select phone from core__party_mentions union all "
    "select phone from core__consent_statements) as seen where phone is not null",
    NAMES: "select distinct given_name, family_name, full_name from core__party_mentions "
    "where coalesce(given_name, family_name, full_name) is not null",
}
INPUTS = ("core__consent_statements", "core__party_mentions")


def build_dictionaries(lake: Lake, regions: tuple[str, ...], rules: IdentityRules) -> list[build.Built]:
    """Read every value that is new; a change of `regions` reads the phones again."""
    return [
        _extend(lake, EMAILS, "1", lambda raw: (raw, contact.email(raw))),
        _extend(lake, PHONES, repr(regions), lambda raw: (raw, contact.phone(raw, regions))),
        _extend(lake, NAMES, "1", _read_name),
        _patterns(lake, rules),
    ]


def _read_name(given: str | None, family: str | None, full: str | None) -> tuple[object, ...]:
    read = names.name(given, family, full)
    return (given, family, full, read.given, read.family, read.full,
            read.given_key, read.family_key, read.full_key, read.is_full)  # fmt: skip


def _extend(lake: Lake, table: str, rule: str, read: Callable[..., tuple[object, ...]]) -> build.Built:
    """Add the values that the dictionary lacks. `rule` names the reading rule; another rule starts afresh."""
    mark = build.fingerprint(lake, INPUTS, rule, "dictionary 1")
    if register.recorded(lake, table) == mark:
        return build.Built(table, build.rows(lake, table), changed=False)
    rule_table = f"{table}#rule"
    rule_mark = hashlib.sha256(rule.encode()).hexdigest()
    known_rule = register.recorded(lake, rule_table)
    fresh = not lake.exists(table) or known_rule != rule_mark
    keys = [name for name in SCHEMAS[table] if name.startswith("raw")]
    missing = DISTINCT[table] if fresh else f"{DISTINCT[table]} except select {', '.join(keys)} from {table}"
    rows = [read(*values) for values in lake.rows(missing)]
    frame = pl.DataFrame(rows, schema=SCHEMAS[table], orient="row")

    def write() -> None:
        verb = "create or replace table lake.main.{} as" if fresh else "insert into lake.main.{}"
        with build.incoming(lake, frame.to_arrow()):
            lake.connection.execute(f"{verb.format(table)} from incoming")
        register.record(lake, table, mark)
        register.record(lake, rule_table, rule_mark)

    lake.write(write, f"extend {table}")
    return build.Built(table, build.rows(lake, table), changed=bool(rows))


def _patterns(lake: Lake, rules: IdentityRules) -> build.Built:
    rows = [(kind, pattern) for kind, patterns in sorted(rules.blocked.items()) for pattern in patterns]
    mark = build.fingerprint(lake, (), rows)
    return build.build_table(
        lake, BLOCKED, mark, lambda: pl.DataFrame(rows, schema=SCHEMAS[BLOCKED], orient="row").to_arrow()
    )
