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
from identity.split import Pairs, split

TABLE = "core__households"
INPUTS = ("core__contact_records", "core__record_identifiers", "core__record_customers")
MOST = 6  # customers that one value may bring together
LOOSE = 1e-3  # how much less likely a tie is whose ends share nobody: of a tangle of thousands those go first
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
    few as (select * from ties qualify count(*) over (partition by kind, value) between 2 and $most),
    tied as (
        select distinct a.customer_id as one, b.customer_id as other
        from few a join few b on a.kind = b.kind and a.value = b.value and a.customer_id <> b.customer_id
    ),
    known as (select one, count(*) as others from tied group by one),
    common as (
        select p.one, p.other, count(*) as n from tied p
        join tied x on x.one = p.one join tied y on y.one = p.other and y.other = x.other
        where p.one < p.other group by p.one, p.other
    )
    select p.one, p.other, (coalesce(c.n, 0) + 2) / (a.others + b.others - coalesce(c.n, 0)) as shared
    from tied p join known a on a.one = p.one join known b on b.one = p.other
    left join common c on c.one = p.one and c.other = p.other
    where p.one < p.other order by all
"""


def build_households(lake: Lake, store: psycopg.Connection, now: datetime) -> build.Built:
    """`core__households(record_id, household_id)`: records of customers who share a home with another; ids last."""
    mark = build.fingerprint(lake, INPUTS, MOST, "households 3")
    return build.build_table(lake, TABLE, mark, lambda: _homes(lake, store, now).to_arrow())


def grouped(links: list[tuple[str, str, float]]) -> pl.DataFrame:
    """`customer_id, home` of those who share one; a home is named after its first member.

    Args:
        links: Two customers who are tied, once each, and of all whom they are tied to the share that both are.
    """
    people = sorted({person for *pair, _ in links for person in pair})
    number = {person: at for at, person in enumerate(people)}
    left = np.array([number[a] for a, _, _ in links], dtype=np.int64)
    right = np.array([number[b] for _, b, _ in links], dtype=np.int64)
    near = np.array([both for *_, both in links], dtype=np.float64)
    label = split(len(people), Pairs(left, right, 1 - LOOSE * (1 - near)), (left[:0], right[:0]))
    _, first, home, size = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    shared = np.nonzero(size[home] > 1)[0].tolist()
    homes = {"customer_id": [people[at] for at in shared], "home": [people[first[home[at]]] for at in shared]}
    return pl.DataFrame(homes, schema={"customer_id": pl.String, "home": pl.String})


def _homes(lake: Lake, store: psycopg.Connection, now: datetime) -> pl.DataFrame:
    named = grouped(lake.rows(TIES, {"most": MOST}))
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
