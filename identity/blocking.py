"""Which pairs are worth scoring: candidate rules, planned from the sizes of the blocks they make.

A rule makes a key of a record from a few fields; records that share a key are a block. Values that too many records
share make no block (they are generic), so that a rule's cost is known before a pair is made. The same keys, computed
for one person, find candidates in the store.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

WORD = "word"  # each word of the name in turn


@dataclass(frozen=True)
class Rule:
    """Fields whose values make the key; `family:4` takes the first four letters; `names` both names in either order."""

    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """As text: `first+family`."""
        return "+".join(self.parts)

    @property
    def why(self) -> str:
        """The reason it is there."""
        return REASONS[self.name]

    @property
    def columns(self) -> frozenset[str]:
        """The columns it needs."""
        named = {part.split(":")[0] for part in self.parts}
        if "names" in named:
            named = named - {"names"} | {"first", "family"}
        return frozenset(named - {WORD} | ({"words"} if WORD in named else set()))


# Key → why it is there: each survives an error in the fields that it leaves out. From precise to loose: a plan keeps the first.
REASONS = {
    "email": "an address is one person's or one home's, whatever else is misspelt",
    "phone": "so is a number",
    "national_id": "issued to one person",
    "birth_date+family": "given name short, foreign or missing; moved house",
    "birth_date+first": "married since, or the family name misspelt",
    "birth_date+postal_code": "both names misspelt or swapped",
    "names": "the same names in either order, whatever else is missing",
    "postal_code+family": "a slip in the birth date, or none given",
    "postal_code+first": "a slip in the birth date and another family name",
    "email_local": "changed provider, kept the part before the @",
    "phone+first:1": "of a number that a whole firm has: those of one initial",
    "birth_date+word": "a name among several surnames or middle names",
    "postal_code+word": "the same, where no birth date is given",
    "street+first": "postal code mistyped",
    "street+birth_year": "names misspelt, postal code missing",
    "root+family:4": "Bob and Robert; the end of the surname misspelt",
    "street+family": "given name short or missing, postal code mistyped",
    "birth_date+root": "Bob and Robert, another family name",
    "family+city": "few of one name in a town; given name short",
    "birth_year+family:4": "day or month mistyped, the end of the surname misspelt",
    "birth_date+city": "both names written otherwise, as in another script",
    "postal_code+birth_year": "names and day misspelt",
    "postal_code+family:3": "the end of the surname misspelt, no birth date",
    "city+word": "a name in another place of the full name",
    "word+birth_year": "the same, moved house",
    "birth_date+first:1": "initials, both names otherwise wrong",
    "birth_date+family:1": "surname cut short",
    "first+city+family:1": "surname misspelt after its first letter",
    "first+birth_year+family:2": "surname misspelt after its second letter, day mistyped",
    "first:1+family+birth_year": "given name as an initial, day mistyped",
    "first:2+family:2+city": "both names misspelt after their second letters",
    "national_id:5+birth_date": "the end of the number mistyped",
    "postal_code+city": "a small district: everybody in it",
    "birth_full": "a birth date with its day alone",
}
CANDIDATES = tuple(Rule(tuple(text.split("+"))) for text in REASONS)


@dataclass(frozen=True)
class Plan:
    """The rules in use with the largest block each may make.

    Attributes:
        rules: Rule and block limit.
        counted: What was counted: (rule, limit, pairs, records in blocks over the limit).
    """

    rules: tuple[tuple[Rule, int], ...]
    counted: tuple[tuple[str, int, int, int], ...] = ()


LIMITS = (1000, 500, 250, 120, 60, 30, 15)
PAIRS_A_RECORD = 3  # of one rule
ALL_PAIRS_A_RECORD = 12
FEWEST = 400_000  # a small file can afford all it has
MANY, PRECISE = 200_000, 16  # of many records only the first rules: each costs a pass over all of them


def plan(connection: duckdb.DuckDBPyConnection, table: str, present: frozenset[str]) -> Plan:
    """Count the blocks of every candidate rule and keep what the budget allows.

    Args:
        connection: Where the records are.
        table: Records with the columns of `fields.COLUMNS` that are present.
        present: Those columns.
    """
    records = int(connection.execute(f"select count(*) from {table}").fetchall()[0][0])
    each = max(PAIRS_A_RECORD * records, FEWEST)
    left = max(ALL_PAIRS_A_RECORD * records, FEWEST * 10)
    chosen, counted = [], []
    for rule in CANDIDATES[: PRECISE if records > MANY else None]:
        if not rule.columns <= present:
            continue
        sizes = connection.execute(
            f"select n, count(*) from (select count(*) as n from ({_blocks_sql(rule, 0, table)}) group by key) where n > 1 group by n"
        ).fetchall()
        for limit in LIMITS:
            pairs = sum(blocks * n * (n - 1) // 2 for n, blocks in sizes if n <= limit)
            if pairs <= min(each, left):
                over = sum(blocks * n for n, blocks in sizes if n > limit)
                counted.append((rule.name, limit, pairs, over))
                if pairs:
                    chosen.append((rule, limit))
                    left -= pairs
                break
    return Plan(tuple(chosen), tuple(counted))


def keys_sql(rule: Rule, number: int, table: str) -> str:
    """A select of (record, key) for one rule over `table`; the key is 63 bits of an MD5, so that any program can make it."""
    text = f"concat_ws('|', '{number}', {', '.join(_expression(part) for part in rule.parts)})"
    return f"select node, cast(md5_number_lower({text}) >> 1 as bigint) as key from {_filled(rule, table)}"


def _blocks_sql(rule: Rule, number: int, table: str) -> str:
    """The same blocks under keys that are cheaper to count."""
    return f"select node, hash({number}, {', '.join(_expression(part) for part in rule.parts)}) as key from {_filled(rule, table)}"


def _filled(rule: Rule, table: str) -> str:
    filled = " and ".join(f"{_expression(part)} is not null" for part in rule.parts)
    if WORD in rule.parts:
        table = f"(select *, unnest(string_split(trim(words), ' ')) as word from {table} where words is not null)"
    return f"{table} where {filled}"


def _expression(part: str) -> str:
    if part == "names":
        return "case when first is not null and family is not null then least(first, family) || ' ' || greatest(first, family) end"
    column, _, size = part.partition(":")
    return f"left({column}, {int(size)})" if size else column


def keys(chosen: Plan, person: Mapping[str, Any]) -> list[int]:
    """The keys of one person under a plan: what `keys_sql` computes, in plain code."""
    from hashlib import md5

    found = set()
    for number, (rule, _) in enumerate(chosen.rules):
        for parts in _values(rule, person):
            digest = md5("|".join([str(number), *parts]).encode(), usedforsecurity=False).digest()
            found.add(int.from_bytes(digest[8:], "little") >> 1)
    return sorted(found)


def _values(rule: Rule, person: Mapping[str, Any]) -> Iterator[list[str]]:
    words = (person.get("words") or "").split() if WORD in rule.parts else [""]
    for word in words:
        parts = []
        for part in rule.parts:
            column, _, size = part.partition(":")
            if column == "names":
                first, family = person.get("first"), person.get("family")
                value = " ".join(sorted((first, family), key=str.encode)) if first and family else None
            else:
                value = word if column == WORD else person.get(column)
            if value is None:
                break
            parts.append(value[: int(size)] if size else value)
        else:
            yield parts


def create_pairs(connection: duckdb.DuckDBPyConnection, chosen: Plan, table: str, fresh: str = "true") -> int:
    """`blocking_keys(node, key)` and `candidate_pairs(l, r)` (l < r, each once) in memory; returns the pairs.

    Args:
        connection: Where the records are.
        chosen: The plan.
        table: Records with an integer `node`.
        fresh: Condition on `node`; pairs with at least one such node are made.
    """
    connection.execute("create or replace temp table blocking_keys (node bigint, key ubigint)")
    for number, (rule, limit) in enumerate(chosen.rules):
        connection.execute(f"create or replace temp table rule_keys as {_blocks_sql(rule, number, table)}")
        connection.execute(
            "insert into blocking_keys from rule_keys semi join "
            f"(select key from rule_keys group by key having count(*) between 2 and {limit}) using (key)"
        )
    connection.execute(
        "create or replace temp table candidate_pairs as "
        "select distinct a.node as l, b.node as r from blocking_keys a join blocking_keys b on a.key = b.key and a.node < b.node "
        f"where {fresh.replace('node', 'a.node')} or {fresh.replace('node', 'b.node')}"
    )
    return int(connection.execute("select count(*) from candidate_pairs").fetchall()[0][0])


def part_of(pairs: int, most: int) -> tuple[float, str]:
    """The share of so many candidate pairs that is looked at, and the condition on `l` and `r` that chooses it."""
    share = min(1.0, most / max(pairs, 1))
    return share, f"hash(l, r) % 1000003 < {math.ceil(share * 1_000_003)}"
