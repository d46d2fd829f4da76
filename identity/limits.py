"""Limits of one customer: where it would hold more values of a type than it may, its weakest kind of evidence is dropped.

As in Segment's identity resolution: a limit and a priority for each identifier; on a breach the identifier of the lowest
priority is demoted and the merge tried again. The link goes, the records and their events stay, the violation is listed.
"""

from collections import Counter
from collections.abc import Sequence
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
    order = _priorities(rules, evidence.kinds)
    within = Within(evidence, label, held)
    found: list[tuple[int, str, str, int, int, list[str]]] = []
    label = label.copy()
    for number, breaches in _breaches(held, label, rules).items():
        first, dropped = _dissolve(within, number, rules, order, label)
        found.extend((first, *breach, dropped) for breach in breaches)
    label = np.unique(label, return_inverse=True)[1].astype(np.int64)
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


def _priorities(rules: IdentityRules, kinds: Sequence[str]) -> list[str]:
    """Types of evidence, first to go first: alike values, types without a priority, then by priority; never a decision."""
    best = {kind: max(limit.priority for limit in sources.values()) for kind, sources in rules.limits.items()}
    unlisted = sorted(set(kinds) - set(best) - {"identical", "decision"})
    return ["similar", "identical", *unlisted, *sorted(best, key=lambda kind: (best[kind], kind))]


def _breaches(held: pl.DataFrame, label: Ints, rules: IdentityRules) -> dict[int, list[tuple[str, str, int, int]]]:
    """Cluster label → (type, source, values held, limit) of each of its breaches."""
    placed = held.with_columns(label=pl.Series(label[held["no"].to_numpy()]))
    found: dict[int, list[tuple[str, str, int, int]]] = {}
    for kind, sources in sorted(rules.limits.items()):
        for source, limit in sorted(sources.items()):
            of = placed.filter(pl.col("type") == kind)
            of = of if source == "any" else of.filter(pl.col("source") == source)
            own = (
                of.group_by("label", "no")
                .agg(pl.col("value").n_unique().alias("own"))
                .group_by("label")
                .agg(pl.col("own").max())
            )
            over = (
                of.group_by("label")
                .agg(pl.col("value").n_unique().alias("n"))
                .join(own, on="label")
                # what one record came to hold over the years is its own: taking others from it would mend nothing
                .filter(pl.col("n") > pl.max_horizontal(pl.col("own"), limit.most))
                .sort("label")
                .select("label", "n")
            )
            for number, n in over.iter_rows():
                found.setdefault(int(number), []).append((kind, source, int(n), limit.most))
    return found


Held = tuple[int, str, str, str]  # record, type, source, value


def _broken(held: list[Held], part: list[int], rules: IdentityRules) -> bool:
    """Whether any part of one small cluster holds more than it may: `_breaches` without a frame."""
    values: dict[tuple[int, str, str], dict[str, set[int]]] = {}
    for record, kind, source, value in held:
        for of in (source, "any"):
            if of in rules.limits[kind]:  # type: ignore[index]
                values.setdefault((part[record], kind, of), {}).setdefault(value, set()).add(record)
    for (_, kind, of), found in values.items():
        own = Counter(record for records in found.values() for record in records)
        if len(found) > max(rules.limits[kind][of].most, *own.values()):  # type: ignore[index]
            return True
    return False


class Within:
    """The evidence and the identifiers of one cluster at a time; everything is sorted by cluster once.

    Args:
        evidence: All of it.
        label: Cluster of every record.
        held: `no`, `type`, `source`, `value` of limited identifiers.
    """

    def __init__(self, evidence: Evidence, label: Ints, held: pl.DataFrame) -> None:
        self._evidence = evidence
        self._no = held["no"].to_numpy()
        self._said = list(zip(*(held[name].to_list() for name in ("type", "source", "value")), strict=True))
        self._records = _Sorted(label)
        sides = (evidence.hard[:2], evidence.soft, evidence.cannot)
        # a pair across clusters belongs to none
        self._pairs = [_Sorted(np.where(label[left] == label[right], label[left], -1)) for left, right in sides]
        self._values = _Sorted(label[self._no])

    def of(self, number: int) -> tuple[Ints, Evidence, list[Held]]:
        """The records of a cluster, its evidence numbered within them, and the identifiers they hold."""
        members = self._records.of(number)
        hard, soft, cannot = (pairs.of(number) for pairs in self._pairs)
        whole = self._evidence

        def at(records: Ints) -> Ints:
            return np.searchsorted(members, records).astype(np.int64)

        own = Evidence(
            len(members),
            (at(whole.hard[0][hard]), at(whole.hard[1][hard]), whole.hard[2][hard]),
            whole.weight[hard],
            (at(whole.soft[0][soft]), at(whole.soft[1][soft])),
            whole.soft_weight[soft],
            (at(whole.cannot[0][cannot]), at(whole.cannot[1][cannot])),
            tuple(whole.kinds[row] for row in hard.tolist()),
        )
        rows = self._values.of(number)
        mine = [
            (record, *self._said[row]) for record, row in zip(at(self._no[rows]).tolist(), rows.tolist(), strict=True)
        ]
        return members, own, mine


class _Sorted:
    """Positions by label, found by binary search."""

    def __init__(self, label: Ints) -> None:
        self._order = np.argsort(label, kind="stable")
        self._sorted = label[self._order]

    def of(self, number: int) -> Ints:
        start, end = np.searchsorted(self._sorted, [number, number + 1])
        found: Ints = self._order[start:end]
        return found


def _dissolve(
    within: Within, number: int, rules: IdentityRules, order: list[str], label: Ints
) -> tuple[int, list[str]]:
    """Cluster one cluster's records again with less and less evidence until no limit is broken; writes their labels."""
    members, own, held = within.of(number)
    gone: list[str] = []
    present = {*own.kinds, *(["similar"] if (own.soft_weight >= 0).any() else [])}
    parts = np.zeros(len(members), dtype=np.int64)
    for kind in order:
        gone.append(kind)
        keep = np.array([k not in gone for k in own.kinds], dtype=bool)
        parts = cluster(_less(own, keep, soft="similar" not in gone))
        if not _broken(held, parts.tolist(), rules):
            break
    names = np.unique(parts)
    for offset, part in enumerate(names[1:]):
        label[members[parts == part]] = -2 - len(label) * (number + 1) - offset
    return int(members[0]), [kind for kind in gone if kind in present] if len(names) > 1 else []


def _less(evidence: Evidence, keep: npt.NDArray[np.bool_], *, soft: bool) -> Evidence:
    left, right, star = evidence.hard
    none = np.array([], dtype=np.int64)
    return replace(
        evidence,
        hard=(left[keep], right[keep], star[keep]),
        weight=evidence.weight[keep],
        soft=evidence.soft if soft else (none, none),
        soft_weight=evidence.soft_weight if soft else np.array([]),
        kinds=tuple(kind for kind, kept in zip(evidence.kinds, keep.tolist(), strict=True) if kept),
    )
