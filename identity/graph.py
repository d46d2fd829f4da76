"""The evidence of the lake as arrays, and the clusters back as a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.lake import build, delta, register
from cdp.lake.engine import Lake
from identity import limits, negative, scopes
from identity.artefact import Model
from identity.cluster import Evidence, cluster, connected, link_weights, with_cannot
from identity.split import Ints

TABLE = "core__clusters"
CUTS, VIOLATIONS = "core__identity_cuts", "core__limit_violations"
INPUTS = ("core__contact_records", "core__record_identifiers", "core__payloads", "core__edges", "core__scored_pairs",
          "core__payload_worth", "core__steward_links")  # fmt: skip
# the tables that clustering makes: columns that tell, the column by which rows are made again, the rows
MADE = {
    TABLE: (("record_id",), "record_id", "from clusters_found"),
    CUTS: ((), "left_id", "select x.reason, a.record_id as left_id, b.record_id as right_id from cuts_found x "
           "join record_numbers a on a.no = x.l join record_numbers b on b.no = x.r"),
    VIOLATIONS: ((), "cluster_id", "from violations_found"),
}  # fmt: skip


@dataclass(frozen=True)
class Clustered:
    """What clustering did; the numbers count the records that were clustered again, in a first run all."""

    built: tuple[build.Built, ...]
    records: int = 0
    components: int = 0
    clusters: int = 0
    split: int = 0
    largest: int = 0


@dataclass(frozen=True)
class Resolved:
    """The cluster and the component of every record of an `Evidence`, and what held records apart."""

    evidence: Evidence
    component: Ints
    label: Ints
    cuts: pl.DataFrame
    violations: pl.DataFrame


@build.timed
def build_clusters(lake: Lake, trained: Model | None, rules: IdentityRules, weak: float) -> Clustered:
    """`core__clusters(record_id, cluster_id, component_id, link_weight)` and what held records apart.

    A cluster is named after its smallest record, a component (before splitting) too. Only components in which anything
    changed are opened, as they were before splitting.
    """
    threshold = trained.threshold if trained else 0.0
    parts = (threshold, weak, rules.one_account, repr(rules.limits), "clusters 5")
    mark, depends = build.fingerprint(lake, INPUTS, *parts), build.fingerprint(lake, (), *parts)
    if register.recorded(lake, TABLE) == mark:
        return Clustered(tuple(build.Built(table, build.rows(lake, table), changed=False) for table in MADE))
    since, turn = delta.last_read(lake, TABLE, depends), delta.newest(lake)
    scoped = scopes.clusters(since) if since else None
    found = resolve(lake, threshold, rules, "semi join touched on record_id = key" if scoped else "")
    _keep(lake, "violations_found", found.violations)
    _keep(lake, "cuts_found", found.cuts)
    stage(lake, found, threshold, weak)

    made: dict[str, int] = {}

    def write() -> None:
        for table, (tells, key, query) in MADE.items():
            lake.rows(f"create or replace temp table made as {query}")
            made[table] = int(lake.scalar("select count(*) from made"))
            version = delta.write(lake, table, tells, delta.Scoped(key) if scoped else None)
            register.record(lake, table, mark, content=version, read=(depends, turn), made="made", whole=not scoped)

    lake.write(write, "cluster")
    sizes = np.bincount(found.label)
    return Clustered(
        tuple(build.Built(table, build.rows(lake, table), changed=True, made=made[table]) for table in MADE),
        len(found.label), len(np.unique(found.component)), int((sizes > 0).sum()), _split(found), int(sizes.max(initial=0)),
    )  # fmt: skip


def resolve(lake: Lake, threshold: float, rules: IdentityRules, within: str = "") -> Resolved:
    """Cluster the evidence of the lake under its rules and limits; nothing is written.

    Args:
        lake: Where.
        threshold: Match weight of even odds.
        rules: Negative rules and limits.
        within: Join that keeps only some records, whole components of them.
    """
    loaded = load(lake, threshold, within)
    component = connected(loaded)
    cuts, crowded = negative.rules(lake, component, rules)
    evidence = _kept_apart(loaded, cuts)
    label = cluster(evidence)
    if crowded:  # of too many people to compare all with all the rules are asked in what these fell into
        cuts = pl.concat([cuts, negative.rules(lake, label, rules)[0]]).unique(maintain_order=True)
        evidence = _kept_apart(loaded, cuts)
        label = cluster(evidence)
    label, violations = limits.enforce(lake, evidence, label, rules)
    return Resolved(evidence, component, label, cuts, violations)


def _kept_apart(evidence: Evidence, cuts: pl.DataFrame) -> Evidence:
    return with_cannot(evidence, (cuts["l"].to_numpy().astype(np.int64), cuts["r"].to_numpy().astype(np.int64)))


def _keep(lake: Lake, table: str, frame: pl.DataFrame) -> None:
    with build.incoming(lake, frame.to_arrow()):
        lake.rows(f"create or replace temp table {table} as from incoming")


def load(lake: Lake, threshold: float, within: str = "") -> Evidence:
    """The evidence over the records; leaves `record_numbers(record_id, no)` in memory."""
    con = lake.connection
    con.execute(
        "create or replace temp table record_numbers as "
        f"select record_id, row_number() over (order by record_id) - 1 as no from core__contact_records {within}"
    )
    size = int(lake.scalar("select count(*) from record_numbers"))
    own = "semi join (select node from core__payloads semi join record_numbers using (record_id)) using (node)"
    con.execute(  # of a payload too common to join anyone some records may stand elsewhere: it is counted whole
        "create or replace temp table node_firsts as "
        "select node, min(n.no) as first, count(*) as records "
        f"from core__payloads p {own if within else ''} left join record_numbers n using (record_id) group by node"
    )
    hard = lake.connection.execute(
        f"""
        with identical as (
            select n.no as r, f.first as l, f.node as star, w.weight
            from core__payloads p join record_numbers n using (record_id)
            join node_firsts f on f.node = p.node and f.records > 1
            join core__payload_worth w on w.node = f.node and w.weight >= {float(threshold)}
        )
        select
            a.no as l, b.no as r, hash(e.type, e.left_id, unnest(string_split(coalesce(e.evidence ->> 'values', ''), '|'))) as star,
            e.weight, e.type as kind
        from core__edges e join record_numbers a on a.record_id = e.left_id join record_numbers b on b.record_id = e.right_id
        where e.kind <> 'probabilistic'
        union all select l, r, hash(star), weight, 'identical' from identical where l <> r
        order by all
        """
    ).to_arrow_table()
    soft = _arrays(
        lake,
        f"""
        select a.first as l, b.first as r, 0::ubigint as star, s.weight
        from core__scored_pairs s join node_firsts a on a.node = s.l join node_firsts b on b.node = s.r
        join core__payload_worth v on v.node = s.l join core__payload_worth w on w.node = s.r
        where (a.records = 1 or v.weight >= {float(threshold)}) and (b.records = 1 or w.weight >= {float(threshold)})
        order by all
        """,
    )
    cannot = _arrays(
        lake,
        "select a.no as l, b.no as r, 0::ubigint as star, 0.0 as weight from core__steward_links s "
        "join record_numbers a on a.record_id = s.left_id join record_numbers b on b.record_id = s.right_id "
        "where s.verdict = 'different' order by all",
    )
    left, right, star, weight = _columns(hard)
    kinds = tuple(hard.column("kind").to_pylist())
    return Evidence(
        size, (left, right, star), weight, (soft[0], soft[1]), soft[3] - threshold, (cannot[0], cannot[1]), kinds
    )


def _arrays(lake: Lake, query: str) -> tuple[Any, Any, Any, Any]:
    return _columns(lake.connection.execute(query).to_arrow_table())


def _columns(found: Any) -> tuple[Any, Any, Any, Any]:
    columns = [found.column(name).to_numpy() for name in ("l", "r", "star", "weight")]
    return columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2].astype(np.uint64), columns[3]


def _all_edges(evidence: Evidence, threshold: float) -> tuple[Ints, Ints, Any]:
    held = evidence.soft_weight >= 0
    return (
        np.concatenate([evidence.hard[0], evidence.soft[0][held]]),
        np.concatenate([evidence.hard[1], evidence.soft[1][held]]),
        np.concatenate([evidence.weight, evidence.soft_weight[held] + threshold]),
    )


def _split(found: Resolved) -> int:
    """Components that did not stay whole."""
    pairs = np.unique(found.component * (int(found.label.max(initial=0)) + 1) + found.label)
    whole = np.unique(pairs // (int(found.label.max(initial=0)) + 1), return_counts=True)[1]
    return int((whole > 1).sum())


def stage(lake: Lake, found: Resolved, threshold: float, weak: float) -> None:
    """`clusters_found`, the rows of `core__clusters`, in memory."""
    strength = link_weights(found.label, *_all_edges(found.evidence, threshold), weak)
    numbers = np.arange(len(found.label))
    frame = pl.DataFrame({"no": numbers, "label": found.label, "component": found.component, "link_weight": strength})
    # records are numbered in the order of their ids: the smallest number names the cluster
    named = frame.with_columns(
        cluster_no=pl.col("no").min().over("label"), component_no=pl.col("no").min().over("component")
    )
    with build.incoming(lake, named.to_arrow()):
        lake.rows(
            "create or replace temp table clusters_found as select n.record_id, c.record_id as cluster_id, "
            "p.record_id as component_id, i.link_weight from incoming i join record_numbers n on n.no = i.no "
            "join record_numbers c on c.no = i.cluster_no join record_numbers p on p.no = i.component_no"
        )
