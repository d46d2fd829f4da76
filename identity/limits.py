"""Limits of one customer: where it would hold more values of a type than it may, its weakest kind of evidence is dropped.

As in Segment's identity resolution: a limit and a priority for each identifier; on a breach the identifier of the lowest
priority is demoted and the merge tried again. The link goes, the records and their events stay, the violation is listed.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.lake.engine import Lake
from identity.cluster import Evidence, cluster
from identity.split import Ints

SCHEMA = {
    "cluster_id": pl.String,
    "type": pl.String,
    "source": pl.String,
    "held": pl.Int64,
    "most": pl.Int64,
    "dropped": pl.String,
}
HELD = """
    with held as (
        select n.no, i.type, r.source, i.value from core__record_identifiers i join record_numbers n using (record_id)
        join core__contact_records r using (record_id) where not i.blocked
    )
    select no, type, source, value from held where type in (select unnest($types))
"""


def enforce(lake: Lake, evidence: Evidence, label: Ints, rules: IdentityRules) -> tuple[Ints, pl.DataFrame]:
    """Labels under the limits, and the violations.

    Args:
        lake: Holds `record_numbers` (see `graph.load`).
        evidence: What was clustered.
        label: Cluster of every record before limits.
        rules: The limits.
    """
    if not rules.limits:
        return label, pl.DataFrame(schema=SCHEMA)
    rows = lake.connection.execute(HELD, {"types": list(rules.limits)}).to_arrow_table()
    held = pl.DataFrame(rows)
    order = _priorities(rules)
    found: list[tuple[int, str, str, int, int, list[str]]] = []
    label = label.copy()
    for number, breach in _breaches(held, label, rules).items():
        members = np.nonzero(label == number)[0]
        dropped = _dissolve(evidence, members, held, rules, order, label)
        found.append((int(members[0]), *breach, dropped))
    ids = (
        dict(
            lake.rows(
                "select no, record_id from record_numbers where no in (select unnest(?))", [[row[0] for row in found]]
            )
        )
        if found
        else {}
    )
    listed = [
        (ids[first], kind, source, n, most, ", ".join(dropped) or "nothing left to drop")
        for first, kind, source, n, most, dropped in found
    ]
    return label, pl.DataFrame(listed, schema=SCHEMA, orient="row")


def _priorities(rules: IdentityRules) -> list[str]:
    """Types of evidence, first to go first."""
    best = {kind: max(limit.priority for limit in sources.values()) for kind, sources in rules.limits.items()}
    return ["similar", "identical", *sorted(best, key=lambda kind: (best[kind], kind))]


def _breaches(held: pl.DataFrame, label: Ints, rules: IdentityRules) -> dict[int, tuple[str, str, int, int]]:
    """Cluster label → (type, source, values held, limit) of its first breach."""
    placed = held.with_columns(label=pl.Series(label[held["no"].to_numpy()]))
    found: dict[int, tuple[str, str, int, int]] = {}
    for kind, sources in sorted(rules.limits.items()):
        for source, limit in sorted(sources.items()):
            of = placed.filter(pl.col("type") == kind)
            of = of if source == "any" else of.filter(pl.col("source") == source)
            over = (
                of.group_by("label")
                .agg(pl.col("value").n_unique().alias("n"))
                .filter(pl.col("n") > limit.most)
                .sort("label")
            )
            for number, n in over.iter_rows():
                found.setdefault(int(number), (kind, source, int(n), limit.most))
    return found


def _dissolve(
    evidence: Evidence, members: Ints, held: pl.DataFrame, rules: IdentityRules, order: list[str], label: Ints
) -> list[str]:  # fmt: skip
    """Cluster the members again with less and less evidence until no limit is broken; writes their labels."""
    own, own_held = _within(evidence, members, held)
    gone: list[str] = []
    for kind in order:
        gone.append(kind)
        keep = np.array([k not in gone for k in own.kinds], dtype=bool)
        less = _less(own, keep, soft="similar" not in gone)
        parts = cluster(less)
        if not _breaches(own_held, parts, rules):
            break
    for part in np.unique(parts)[1:]:
        label[members[parts == part]] = label.max() + 1
    return gone if len(np.unique(parts)) > 1 else []


def _within(evidence: Evidence, members: Ints, held: pl.DataFrame) -> tuple[Evidence, pl.DataFrame]:
    at: Mapping[int, int] = {int(record): number for number, record in enumerate(members)}

    def inside(*sides: Ints) -> npt.NDArray[np.bool_]:
        return np.isin(sides[0], members) & np.isin(sides[1], members)

    def moved(side: Ints, mask: npt.NDArray[np.bool_]) -> Ints:
        return np.array([at[int(record)] for record in side[mask]], dtype=np.int64)

    hard, soft, cannot = inside(*evidence.hard[:2]), inside(*evidence.soft), inside(*evidence.cannot)
    own = Evidence(
        len(members),
        (moved(evidence.hard[0], hard), moved(evidence.hard[1], hard), evidence.hard[2][hard]),
        evidence.weight[hard],
        (moved(evidence.soft[0], soft), moved(evidence.soft[1], soft)),
        evidence.soft_weight[soft],
        (moved(evidence.cannot[0], cannot), moved(evidence.cannot[1], cannot)),
        tuple(kind for kind, within in zip(evidence.kinds, hard.tolist(), strict=True) if within),
    )
    mine = held.filter(pl.col("no").is_in(members.tolist()))
    mine = mine.with_columns(no=pl.col("no").replace_strict(dict(at), return_dtype=pl.Int64))
    return own, mine


def _less(evidence: Evidence, keep: npt.NDArray[np.bool_], *, soft: bool) -> Evidence:
    left, right, star = evidence.hard
    none = np.array([], dtype=np.int64)
    return replace(
        evidence,
        hard=(left[keep], right[keep], star[keep]),
        weight=evidence.weight[keep],
        soft=evidence.soft if soft else (none, none),
        soft_weight=evidence.soft_weight if soft else np.array([]),
    )
