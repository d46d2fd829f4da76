"""The evidence of the lake as arrays, and the clusters back as a table."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.lake import build
from cdp.lake.engine import Lake
from identity import limits, negative, nodes
from identity.artefact import Model
from identity.cluster import Evidence, cluster, connected, link_weights
from identity.split import Ints, components

TABLE = "core__clusters"
INPUTS = ("core__contact_records", "core__edges", "core__scored_pairs", "core__payload_worth", "core__steward_links")
CUTS, VIOLATIONS = "core__identity_cuts", "core__limit_violations"


@dataclass(frozen=True)
class Clustered:
    """What clustering did."""

    built: tuple[build.Built, ...]
    components: int = 0
    clusters: int = 0
    split: int = 0
    largest: int = 0


def build_clusters(lake: Lake, trained: Model | None, rules: IdentityRules, weak: float) -> Clustered:
    """`core__clusters(record_id, cluster_id, component_id, link_weight)` and the negative rules that held it apart.

    A cluster is named after its smallest record, a component (before splitting) too.
    """
    threshold = trained.threshold if trained else 0.0
    mark = build.fingerprint(lake, INPUTS, threshold, weak, rules.one_account, repr(rules.limits), "clusters 2")
    done = Clustered(())

    def make() -> Any:
        nonlocal done
        evidence = load(lake, threshold)
        component = connected(evidence)
        cuts = negative.rules(lake, component, rules)
        evidence = with_cannot(evidence, cuts)
        label, broken = limits.enforce(lake, evidence, cluster(evidence), rules)
        _keep(lake, "violations_found", broken)
        left, right, weight = _all_edges(evidence, threshold)
        strength = link_weights(label, left, right, weight, weak)
        sizes = np.bincount(label)
        done = Clustered(
            (), len(np.unique(component)), len(sizes[sizes > 0]), _split(component, label), int(sizes.max(initial=0))
        )
        _keep(lake, "cuts_found", cuts)
        return _named(lake, label, component, strength)

    built = build.build_table(lake, TABLE, mark, make)
    if built.changed:
        select = (
            "select x.reason, a.record_id as left_id, b.record_id as right_id from cuts_found x "
            "join record_numbers a on a.no = x.l join record_numbers b on b.no = x.r order by all"
        )
        listed = {CUTS: select, VIOLATIONS: "from violations_found order by all"}
        others = [
            build.build_table(lake, table, mark, lambda q=query: lake.connection.execute(q).to_arrow_table())  # type: ignore[misc]
            for table, query in listed.items()
        ]
    else:
        others = [build.Built(table, build.rows(lake, table), changed=False) for table in (CUTS, VIOLATIONS)]
    return Clustered((built, *others), done.components, done.clusters, done.split, done.largest)


def _keep(lake: Lake, table: str, frame: pl.DataFrame) -> None:
    with build.incoming(lake, frame.to_arrow()):
        lake.rows(f"create or replace temp table {table} as from incoming")


def load(lake: Lake, threshold: float) -> Evidence:
    """The evidence over all records; leaves `record_numbers(record_id, no)` in memory."""
    con = lake.connection
    con.execute(
        "create or replace temp table record_numbers as "
        "select record_id, row_number() over (order by record_id) - 1 as no from core__contact_records"
    )
    size = int(lake.scalar("select count(*) from record_numbers"))
    con.execute(
        "create or replace temp table node_firsts as "
        f"select {nodes.NODE} as node, min(n.no) as first, count(*) as records "
        "from core__payloads p join record_numbers n using (record_id) group by payload_id"
    )
    hard = lake.connection.execute(
        f"""
        with identical as (
            select n.no as r, f.first as l, f.node as star, w.weight
            from core__payloads p join record_numbers n using (record_id)
            join node_firsts f on f.node = {nodes.NODE} and f.records > 1
            join core__payload_worth w on w.node = f.node and w.weight >= {float(threshold)}
        )
        select a.no as l, b.no as r, hash(e.type, e.left_id) as star, e.weight, e.type as kind
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


def with_cannot(evidence: Evidence, cuts: pl.DataFrame) -> Evidence:
    """The evidence with the pairs of the negative rules among those that must stay apart; a steward's word beats a rule.

    What a decision joins is the components that stand without decisions: no rule holds across two of them that a chain of
    decisions made one person.
    """
    decided = np.array([kind == "decision" for kind in evidence.kinds], dtype=bool)
    left, right, star = evidence.hard
    alone = replace(evidence, hard=(left[~decided], right[~decided], star[~decided]))
    part = connected(alone)
    chain = components(int(part.max(initial=-1)) + 1, part[left[decided]], part[right[decided]])
    one, other = cuts["l"].to_numpy().astype(np.int64), cuts["r"].to_numpy().astype(np.int64)
    ends = part[left[decided]], part[right[decided]]
    settled = np.isin(
        part[one], ends[0][ends[0] == ends[1]]
    )  # decided within a component: what it shares held it together
    stands = np.where(part[one] == part[other], ~settled, chain[part[one]] != chain[part[other]])
    cannot = (
        np.concatenate([evidence.cannot[0], one[stands]]),
        np.concatenate([evidence.cannot[1], other[stands]]),
    )
    return replace(evidence, cannot=cannot)


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


def _split(component: Ints, label: Ints) -> int:
    """Components that did not stay whole."""
    pairs = np.unique(np.stack([component, label]), axis=1)
    return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum()) if pairs.size else 0


def _named(lake: Lake, label: Ints, component: Ints, strength: Any) -> Any:
    frame = pl.DataFrame({"no": np.arange(len(label)), "label": label, "component": component, "link_weight": strength})
    with build.incoming(lake, frame.to_arrow()):
        return lake.connection.execute(
            "select n.record_id, min(n.record_id) over (partition by i.label) as cluster_id, "
            "min(n.record_id) over (partition by i.component) as component_id, i.link_weight "
            "from incoming i join record_numbers n using (no) order by n.record_id"
        ).to_arrow_table()
