"""Negative rules: what makes two records two people, whatever else they share."""

import numpy as np
import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.lake.engine import Lake
from identity.guards import MOST, two_births
from identity.split import Ints

SCHEMA = {"reason": pl.String, "l": pl.Int64, "r": pl.Int64}


def rules(lake: Lake, component: Ints, settings: IdentityRules) -> tuple[pl.DataFrame, bool]:
    """Pairs of record numbers that one component holds and no cluster may: `reason`, `l`, `r`; and whether any is too large to ask.

    Args:
        lake: Holds `record_numbers` (see `graph.load`).
        component: Component of every record.
        settings: Sources in which a person has one account.
    """
    frame = pl.DataFrame({"no": np.arange(len(component)), "component": component})
    lake.connection.register("component_read", frame.to_arrow())
    lake.rows("create or replace temp table component_of as from component_read")
    lake.connection.unregister("component_read")
    births, crowded = _two_births(lake)
    return pl.concat([_two_accounts(lake, settings), births]), crowded


def _two_accounts(lake: Lake, settings: IdentityRules) -> pl.DataFrame:
    found = lake.connection.execute(
        """
        with accounts as (
            select c.component, r.source, n.no from core__contact_records r
            join record_numbers n using (record_id) join component_of c using (no)
            where r.identifier = 'account' and r.source in (select unnest($sources))
        )
        select 'two accounts of a source that gives a person one' as reason, a.no as l, b.no as r
        from accounts a join accounts b on a.component = b.component and a.source = b.source and a.no < b.no order by all
        """,
        {"sources": list(settings.one_account)},
    ).to_arrow_table()
    return pl.DataFrame(found).cast(SCHEMA)  # type: ignore[arg-type]


def _two_births(lake: Lake) -> tuple[pl.DataFrame, bool]:
    """Different birth dates with different given names: siblings, or parent and child, of one address."""
    rows = lake.rows(
        """
        with people as (
            select c.component, p.given_key, p.birth_full, min(n.no) as no, list(n.no order by n.no) as every
            from core__payloads p join record_numbers n using (record_id) join component_of c using (no)
            where p.birth_full is not null and p.given_key is not null
            group by c.component, p.given_key, p.birth_full
        )
        select component, given_key, birth_full, every, count(*) over (partition by component) > $most as crowded from people
        qualify count(distinct birth_full) over (partition by component) > 1
            and (not crowded or row_number() over (partition by component order by no) = 1)
        order by component, no
        """,
        {"most": MOST},
    )
    found = []
    by_component: dict[int, list[tuple[str, str, list[int]]]] = {}
    for component, given, birth, every, crowded in rows:
        if not crowded:
            by_component.setdefault(component, []).append((given, birth, every))
    for people in by_component.values():
        for at, (given, birth, every) in enumerate(people):
            for other_given, other_birth, others in people[at + 1 :]:
                if two_births(given, birth, other_given, other_birth):
                    found += [("different birth dates and given names", a, b) for a in every for b in others]
    return pl.DataFrame(found, schema=SCHEMA, orient="row"), any(row[-1] for row in rows)
