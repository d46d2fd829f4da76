"""How many people hold one identifier value: told apart by given name, because that is what households differ in."""

from collections import defaultdict
from collections.abc import Callable, Iterator

import polars as pl
import pyarrow as pa

from cdp.identity_rules import IdentityRules
from cdp.lake import build
from cdp.lake.engine import Lake
from identity import names

DEFAULT_PEOPLE = 1
COUNTED = """
    select type, value, count(distinct full_key) as names,
        count(distinct case when identifier = 'account' then record_id end) as accounts
    from core__identifier_holders group by all
"""
NAMED = """
    select type, value, given_key, count(*) over (partition by type, value) as names
    from (select distinct type, value, given_key from core__identifier_holders where given_key is not null)
"""


def build_sharing(lake: Lake, rules: IdentityRules) -> list[build.Built]:
    """Make the tables that the identifier edges read: limits, and people per shared value."""
    held = build.fingerprint(lake, ("core__identifier_holders",), "sharing 1")
    marks = {"core__identifier_limits": build.fingerprint(lake, (), _limits(rules).rows())}
    return [build.build_table(lake, table, marks.get(table, held), make) for table, make in tables(lake, rules)]


def tables(lake: Lake, rules: IdentityRules) -> Iterator[tuple[str, Callable[[], pa.Table]]]:
    """The tables in the order in which they read one another."""
    yield "core__identifier_limits", _limits(rules).to_arrow
    yield "core__identifier_people", lambda: _people(lake)
    yield "core__identifier_groups", lambda: _groups(lake)


def _limits(rules: IdentityRules) -> pl.DataFrame:
    types = ("email", "phone", "card", "browser", "order", "wechat_openid", "wechat_unionid")
    people = [rules.people.get(kind, DEFAULT_PEOPLE) for kind in types]  # type: ignore[call-overload]
    return pl.DataFrame({"type": types, "people": people, "names": rules.names, "accounts": rules.accounts_per_browser})


def _groups(lake: Lake) -> pa.Table:
    counted = "select type, value, max(person_no) as people from core__identifier_people group by all"
    return lake.connection.execute(
        f"select i.*, coalesce(c.people, 1) as people from ({COUNTED}) i left join ({counted}) c using (type, value)"
    ).to_arrow_table()


def _people(lake: Lake) -> pa.Table:
    """(type, value, given_key, person_no) of every value; names that may be one person's share a number."""
    held: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, value, given in lake.rows(f"select type, value, given_key from ({NAMED}) where names > 1"):
        held[kind, value].append(given)
    rows = [
        (kind, value, given, number)
        for (kind, value), given_keys in held.items()
        for number, group in enumerate(names.people(given_keys), 1)
        for given in group
    ]
    schema = {"type": pl.String, "value": pl.String, "given_key": pl.String, "person_no": pl.Int64}
    with build.incoming(lake, pl.DataFrame(rows, schema=schema, orient="row").to_arrow()):
        return lake.connection.execute(
            f"select type, value, given_key, 1::bigint as person_no from ({NAMED}) where names = 1 union all from incoming"
        ).to_arrow_table()
