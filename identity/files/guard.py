"""The household guard over a file's pairs: people of one home share all but what is theirs alone."""

from collections.abc import Iterable

import duckdb
import polars as pl

from identity import names
from identity.guards import SLIPS

OWN = (("email", "email_local"), ("national_id",))  # what is one person's, however many live at an address
NONE = pl.DataFrame(schema={"l": pl.Int64, "r": pl.Int64})
HOME = ("street", "postal_code")
APART = """
    select l, r, weight, a.first as one, b.first as other, {births} as births, {own} as own, {more} as more, {home} as home
    from scored join nodes a on a.node = l join nodes b on b.node = r
    where weight >= 0 and a.first <> b.first and a.root is distinct from b.root and not {swapped} and not {among}
"""
NAMELESS = """
    select l, r, false as births from scored join nodes a on a.node = l join nodes b on b.node = r
    where weight >= 0 and (a.first is null or b.first is null) and ({births} or {more}) and {home} and {own} = 0 and not {phone}
"""
ALIKE = """(
    jaro_winkler_similarity(x, y) >= 0.88 or (least(length(x), length(y)) > 2 and (contains(x, y) or contains(y, x)))
    or (least(length(x), length(y)) = 1 and left(x, 1) = left(y, 1))
)"""
MIDDLE = f"""(
    a.rest is not null and b.rest is not null and len(list_filter(
        string_split(a.rest, ' '), lambda x: len(list_filter(string_split(b.rest, ' '), lambda y: {ALIKE})) > 0
    )) = 0
)"""
GENDER = "(a.gender in ('m', 'f') and b.gender in ('m', 'f') and a.gender <> b.gender)"


def drop(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> pl.DataFrame:
    """Take the pairs of two people out of `scored(l, r, weight)`; returns `l`, `r` of those that no cluster may hold.

    Two given names that cannot be one person's make two people of a likely pair, unless something that is one person's own says
    otherwise: one such thing, where neither middle names nor gender differ too (twins have one birth date, couples one e-mail), or
    two. Whole birth dates that differ make them two whatever else is the same, at one address even of names that are only similar,
    as those of siblings are. Where one gives no given name, a birth date, middle name or gender of another at one address does, if
    nothing of their own is the same.

    Args:
        connection: With `scored` and `nodes`.
        columns: Those that the nodes have.
    """
    if "first" not in columns:
        return NONE
    there = columns.__contains__
    slips = "damerau_levenshtein(a.{0}, b.{0})"
    dated = [f"{slips.format('birth_date')} <= 1"] if there("birth_date") else []
    same = [[f"a.{column} = b.{column}" for column in kind if there(column)] for kind in OWN]
    births = _any([f"{slips.format('birth_full')} > {SLIPS}"] if there("birth_full") else [])
    own = "(" + " + ".join(f"cast({_any(each)} as integer)" for each in (dated, *same)) + ")"
    home = _any(f"a.{column} = b.{column}" for column in HOME if there(column))
    more = _any([*([MIDDLE] if there("rest") else []), *([GENDER] if there("gender") else [])])
    phone = _any(["a.phone = b.phone"] if there("phone") else [])
    query = APART.format(
        births=births,
        own=own,
        more=more,
        home=home,
        swapped=_any(["a.first = b.family and a.family = b.first"] if there("family") else []),
        among=_any(f"contains({b}.words, ' ' || {a}.first || ' ')" for a, b in ("ab", "ba") if there("words")),
    )
    connection.execute(
        f"create or replace temp table doubtful as select * from ({query}) where births or own = 0 or (more and own = 1)"
    )
    asked = connection.execute("select distinct one, other, births and home as near from doubtful").fetchall()
    wrong = [row for row in asked if not (names.alike if row[2] else names.compatible)(*row[:2])]
    schema = {"one": pl.String, "other": pl.String, "near": pl.Boolean}
    connection.register("wrong", pl.DataFrame(wrong, schema=schema, orient="row").to_arrow())
    connection.execute(
        "create or replace temp table refused as select l, r, births from doubtful d "
        "semi join wrong w on w.one = d.one and w.other = d.other and w.near = (d.births and d.home) "
        f"union all {NAMELESS.format(births=births, own=own, more=more, home=home, phone=phone)}"
    )
    connection.unregister("wrong")
    connection.execute("create or replace temp table scored as select s.* from scored s anti join refused using (l, r)")
    return pl.DataFrame(connection.execute("select l, r from refused where births order by l, r").to_arrow_table())


def _any(conditions: Iterable[str]) -> str:
    """One of these SQL conditions holds; null and none are false."""
    return f"coalesce({' or '.join(conditions) or 'false'}, false)"
