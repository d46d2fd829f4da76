"""How many people hold one identifier value: told apart by given name, because that is what households differ in."""

from collections import defaultdict
from collections.abc import Callable, Iterator

import polars as pl
import pyarrow as pa

from cdp.identity_rules import IdentityRules
from cdp.lake import build
from cdp.lake.engine import Lake
from identity import names, scopes

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

GROUPED = f"""
    select i.*, coalesce(c.people, 1) as people from ({COUNTED}) i
    left join (select type, value, max(person_no) as people from core__identifier_people group by all) c using (type, value)
"""
LIMITS, RULE = "core__identifier_limits", "sharing 2"


def build_sharing(lake: Lake, rules: IdentityRules) -> list[build.Built]:
    """Make the tables that the identifier edges read: limits, and people per shared value."""
    limits = limits_of(rules)
    mark = build.fingerprint(lake, (), limits.to_pylist())
    held, depends = build.fingerprint(lake, (scopes.HOLDERS,), RULE), build.fingerprint(lake, (), RULE)
    parts = {scopes.PEOPLE: scopes.values, scopes.GROUPS: scopes.groups}
    made = [build.refresh(lake, table, held, depends, ("value",), query, parts[table]) for table, query in tables(lake)]
    return [build.build_table(lake, LIMITS, mark, lambda: limits), *made]


def limits_of(rules: IdentityRules) -> pa.Table:
    """`core__identifier_limits`, from the rules alone."""
    types = ("email", "phone", "card", "browser", "order", "wechat_openid", "wechat_unionid")
    people = [rules.people.get(kind, DEFAULT_PEOPLE) for kind in types]  # type: ignore[call-overload]
    frame = {"type": types, "people": people, "names": rules.names, "accounts": rules.accounts_per_browser}
    return pl.DataFrame(frame).to_arrow()


def tables(lake: Lake) -> Iterator[tuple[str, Callable[[], str]]]:
    """The tables in the order in which they read one another, each with what gives its select."""
    yield scopes.PEOPLE, lambda: _people(lake)
    yield scopes.GROUPS, lambda: GROUPED


def _people(lake: Lake) -> str:
    """Select of (type, value, given_key, person_no) of every value; names that may be one person's share a number."""
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
        lake.rows("create or replace temp table told_apart as from incoming")
    return f"select type, value, given_key, 1::bigint as person_no from ({NAMED}) where names = 1 union all from told_apart"
