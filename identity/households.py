"""Homes: customers who live together, over the same evidence, in ids of their own; who is who never reads them.

Two customers share a home when they bear one family name at one address or share a phone or e-mail, and few enough do:
a value of many is a shop's, a district's or nobody's.
"""

from datetime import datetime

import numpy as np
import polars as pl
import psycopg

from cdp.lake import build
from cdp.lake.engine import Lake
from identity import ids
from identity.split import Ints, components

TABLE = "core__households"
INPUTS = ("core__contact_records", "core__record_identifiers", "core__record_customers")
MOST = 6  # customers that one value may bring together
TIES = """
    with ties as (
        select 'home' as kind, concat_ws('|', r.family_key, r.postal_code, r.city) as value, c.customer_id
        from core__contact_records r join core__record_customers c using (record_id)
        where r.family_key is not null and r.postal_code is not null
        union
        select i.type as kind, i.value, c.customer_id
        from core__record_identifiers i join core__record_customers c using (record_id)
        where i.type in ('phone', 'email') and not i.blocked
    )
    select kind, value, customer_id, min(customer_id) over (partition by kind, value) as centre
    from ties qualify count(*) over (partition by kind, value) between 2 and $most
"""


def build_households(lake: Lake, store: psycopg.Connection, now: datetime) -> build.Built:
    """`core__households(record_id, household_id)`: records of customers who share a home with another; ids last."""
    mark = build.fingerprint(lake, INPUTS, MOST, "households 1")
    return build.build_table(lake, TABLE, mark, lambda: _homes(lake, store, now).to_arrow())


def _homes(lake: Lake, store: psycopg.Connection, now: datetime) -> pl.DataFrame:
    links = lake.rows(
        f"select distinct centre, customer_id from ({TIES}) where centre <> customer_id order by all", {"most": MOST}
    )
    people = sorted({person for pair in links for person in pair})
    number = {person: at for at, person in enumerate(people)}
    left = np.array([number[a] for a, _ in links], dtype=np.int64)
    right = np.array([number[b] for _, b in links], dtype=np.int64)
    homes = [people[first] for first in _first_of(components(len(people), left, right))]
    named = pl.DataFrame({"customer_id": people, "home": homes}, schema={"customer_id": pl.String, "home": pl.String})
    with build.incoming(lake, named.to_arrow()):
        members = lake.rows(
            "select record_id, home from core__record_customers join incoming using (customer_id) order by 1"
        )
    held: dict[str, str] = dict(store.execute("select record_id, household_id from households").fetchall())
    overlap: dict[tuple[str, str], int] = {}
    for record, home in members:
        if record in held:
            key = (home, held[record])
            overlap[key] = overlap.get(key, 0) + 1
    present = [(home, household, n) for (home, household), n in sorted(overlap.items())]
    chosen = ids.assign(sorted({home for _, home in members}), present, [], lambda: f"home_{ids.uuid7(now)}")
    rows = [(record, chosen[home]) for record, home in members]
    return pl.DataFrame(rows, schema={"record_id": pl.String, "household_id": pl.String}, orient="row")


def _first_of(label: Ints) -> Ints:
    """The first member of every member's component."""
    first = np.full(int(label.max()) + 1 if len(label) else 0, len(label), dtype=np.int64)
    np.minimum.at(first, label, np.arange(len(label)))
    found: Ints = first[label]
    return found
