"""Homes: customers who live together, over the same evidence, in ids of their own; who is who never reads them.

Two customers share a home when they bear one family name at one address or share a phone or e-mail, and few enough do:
a value of many is a shop's, a district's or nobody's. Of those that such ties lead to, only who is tied to more than a fifth of a home
belongs to it (average linkage, as records are clustered): phones shared two by two are no home of a whole street.
"""

from datetime import datetime

import numpy as np
import polars as pl
import psycopg

from cdp.lake import build
from cdp.lake.engine import Lake
from identity import ids
from identity.split import SURE, Pairs, split

TABLE = "core__households"
INPUTS = ("core__contact_records", "core__record_identifiers", "core__record_customers")
MOST = 6  # customers that one value may bring together
TIED = 1 - 2 * (1 - SURE)  # less than sure: a tangle of thousands falls apart, it is no home
TIES = """
    with ties as (
        select 'home' as kind, concat_ws('|', r.family_key, r.postal_code, r.city) as value, c.customer_id
        from core__contact_records r join core__record_customers c using (record_id)
        where r.family_key is not null and r.postal_code is not null
        union
        select i.type as kind, i.value, c.customer_id
        from core__record_identifiers i join core__record_customers c using (record_id)
        where i.type in ('phone', 'email') and not i.blocked
    ),
    few as (select * from ties qualify count(*) over (partition by kind, value) between 2 and $most)
    select distinct a.customer_id as one, b.customer_id as other
    from few a join few b on a.kind = b.kind and a.value = b.value and a.customer_id < b.customer_id
    order by all
"""


def build_households(lake: Lake, store: psycopg.Connection, now: datetime) -> build.Built:
    """`core__households(record_id, household_id)`: records of customers who share a home with another; ids last."""
    mark = build.fingerprint(lake, INPUTS, MOST, "households 2")
    return build.build_table(lake, TABLE, mark, lambda: _homes(lake, store, now).to_arrow())


def _homes(lake: Lake, store: psycopg.Connection, now: datetime) -> pl.DataFrame:
    links = lake.rows(TIES, {"most": MOST})
    people = sorted({person for pair in links for person in pair})
    number = {person: at for at, person in enumerate(people)}
    left = np.array([number[a] for a, _ in links], dtype=np.int64)
    right = np.array([number[b] for _, b in links], dtype=np.int64)
    label = split(len(people), Pairs(left, right, np.full(len(links), TIED)), (left[:0], right[:0]))
    _, first, home, size = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    shared = np.nonzero(size[home] > 1)[0].tolist()
    homes = {"customer_id": [people[at] for at in shared], "home": [people[first[home[at]]] for at in shared]}
    named = pl.DataFrame(homes, schema={"customer_id": pl.String, "home": pl.String})
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
