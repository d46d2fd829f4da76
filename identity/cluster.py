"""From evidence to clusters of contact records.

Hard evidence (a shared identifier within its limits, an order reference) joins records at once; alike payloads join what
is left where `split` lets them; a steward's word joins the clusters that stand then. Cannot-links hold for whole clusters:
where hard evidence joins records that must stay apart, it is taken apart and judged like the rest.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from identity import decided
from identity.split import LARGEST_DENSE, LIKELY, TOGETHER, Ints, Pairs, components, probability, split

CERTAIN = 1 - 1e-7  # of what shares a value: surer than any score that holds too large a component together
STRONGEST = 99.0  # the link weight of a core's own records


@dataclass(frozen=True)
class Evidence:
    """Everything that says who is who, over records numbered in the order of their ids.

    Attributes:
        size: Number of records.
        hard: Left and right record and the star it belongs to (records of one star share one value).
        weight: Weight of each hard edge.
        soft: Left and right record (each the first of its payload) of alike payloads.
        soft_weight: Match weight of each.
        cannot: Left and right record that must not end in one cluster.
        kinds: Type of each hard edge.
    """

    size: int
    hard: tuple[Ints, Ints, Ints]
    weight: npt.NDArray[np.float64]
    soft: tuple[Ints, Ints]
    soft_weight: npt.NDArray[np.float64]
    cannot: tuple[Ints, Ints]
    kinds: tuple[str, ...] = ()


def connected(evidence: Evidence) -> Ints:
    """Components before any splitting: what hard evidence and likely pairs join."""
    likely = probability(evidence.soft_weight) >= LIKELY
    left = np.concatenate([evidence.hard[0], evidence.soft[0][likely]])
    right = np.concatenate([evidence.hard[1], evidence.soft[1][likely]])
    return components(evidence.size, left, right)


def cluster(evidence: Evidence, together: float = TOGETHER) -> Ints:
    """Cluster label of every record.

    A steward's "same" joins whole clusters, not two records of them: it is applied to what the rest of the evidence
    makes. Contracted beforehand, the two records would hang on each half of their clusters by half the mean.
    """
    alone, one, other = _without_decisions(evidence)
    vertex = components(alone.size, alone.hard[0], alone.hard[1])
    conflicts = vertex[alone.cannot[0]] == vertex[alone.cannot[1]]
    vertex, extra = _unpack(alone, vertex, np.unique(vertex[alone.cannot[0][conflicts]]))
    order, first = np.unique(vertex, return_index=True)
    rank = np.empty(len(order), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(order))
    vertex = rank[np.searchsorted(order, vertex)]  # numbered by their smallest record, so that ties never move
    left = np.concatenate([vertex[alone.soft[0]], vertex[extra.l]])
    right = np.concatenate([vertex[alone.soft[1]], vertex[extra.r]])
    p = np.concatenate([probability(alone.soft_weight), extra.p])
    same = vertex[one], vertex[other]
    cannot = decided.spread((vertex[alone.cannot[0]], vertex[alone.cannot[1]]), same, len(order))
    label = split(len(order), _strongest(len(order), left, right, p), cannot, together=together)
    return decided.join(label, same, cannot)[vertex]


def with_cannot(evidence: Evidence, cuts: decided.Ends) -> Evidence:
    """The evidence with the pairs of the negative rules among those that must stay apart; a steward's word beats a rule.

    What a decision joins is the components that stand without decisions: no rule holds across two of them that a chain of
    decisions made one person.
    """
    alone, left, right = _without_decisions(evidence)
    part = connected(alone)
    ends = part[left], part[right]
    chain = components(int(part.max(initial=-1)) + 1, *ends)
    one, other = cuts
    settled = np.isin(
        part[one], ends[0][ends[0] == ends[1]]
    )  # decided within a component: what it shares held it together
    stands = np.where(part[one] == part[other], ~settled, chain[part[one]] != chain[part[other]])
    cannot = (
        np.concatenate([evidence.cannot[0], one[stands]]),
        np.concatenate([evidence.cannot[1], other[stands]]),
    )
    return replace(evidence, cannot=cannot)


def _without_decisions(evidence: Evidence) -> tuple[Evidence, Ints, Ints]:
    """The evidence less what stewards joined, and the two records of each of their decisions."""
    said = np.array([kind == "decision" for kind in evidence.kinds], dtype=bool)
    left, right, star = evidence.hard
    kinds = tuple(kind for kind in evidence.kinds if kind != "decision")
    alone = replace(evidence, hard=(left[~said], right[~said], star[~said]), weight=evidence.weight[~said], kinds=kinds)
    return alone, left[said], right[said]


def _strongest(size: int, left: Ints, right: Ints, p: npt.NDArray[np.float64]) -> Pairs:
    """Of the pairs between two vertices the likeliest, each once and no pair within one."""
    low, high = np.minimum(left, right), np.maximum(left, right)
    apart = low != high
    low, high, p = low[apart], high[apart], p[apart]
    order = np.lexsort((-p, high, low))
    low, high, p = low[order], high[order], p[order]
    new = np.ones(len(low), dtype=bool)
    new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return Pairs(low[new], high[new], p[new])


def _unpack(evidence: Evidence, vertex: Ints, conflicted: Ints) -> tuple[Ints, Pairs]:
    """Take hard components that must not hold apart: their records stand alone, tied to all who share a value with them."""
    empty = Pairs(np.array([], np.int64), np.array([], np.int64), np.array([]))
    if not len(conflicted):
        return vertex, empty
    opened = np.isin(vertex, conflicted)
    vertex = vertex.copy()
    vertex[opened] = vertex.max() + 1 + np.arange(int(opened.sum()))
    touched = opened[evidence.hard[0]]
    left, right, star = (part[touched] for part in evidence.hard)
    pairs = {(int(a), int(b)) for a, b in zip(left, right, strict=True)}
    # the likely pairs of a payload stand under its first record: all its records have them
    twins: dict[int, list[int]] = {}
    same = np.array([kind == "identical" for kind in evidence.kinds], dtype=bool)
    for first, other in zip(evidence.hard[0][same], evidence.hard[1][same], strict=True):
        if opened[first]:
            twins.setdefault(int(first), [int(first)]).append(int(other))
    spread = [
        (a, b, p)
        for one, two, p in zip(*evidence.soft, probability(evidence.soft_weight), strict=True)
        if int(one) in twins or int(two) in twins
        for a in twins.get(int(one), [int(one)])
        for b in twins.get(int(two), [int(two)])
    ]
    order = np.argsort(star, kind="stable")
    for rows_of in np.split(order, np.nonzero(np.diff(star[order]))[0] + 1):
        members = np.unique(np.concatenate([left[rows_of], right[rows_of]]))
        ends = members if len(members) <= LARGEST_DENSE else members[:1]  # more are never compared all with all
        pairs |= {(int(a), int(b)) for at, a in enumerate(ends) for b in members[at + 1 :]}
    rows = [*((a, b, CERTAIN) for a, b in sorted(pairs)), *spread]
    a, b = (np.array([row[side] for row in rows], dtype=np.int64) for side in (0, 1))
    return vertex, Pairs(a, b, np.array([row[2] for row in rows]))


def link_weights(
    label: Ints, left: Ints, right: Ints, weight: npt.NDArray[np.float64], weak: float
) -> npt.NDArray[np.float64]:
    """How strongly each record hangs on its cluster's core, the largest part that strong links alone hold together.

    Consent lets denials cross a weak link, never grants. The core's own records get `STRONGEST`; every other part the
    strongest edge that joins it to the rest.

    Args:
        label: Cluster of every record.
        left: One end of every edge.
        right: The other.
        weight: Match weight of every edge.
        weak: Edges below this are weak.
    """
    inside = label[left] == label[right]
    left, right, weight = left[inside], right[inside], weight[inside]
    strong = weight >= weak
    part = components(len(label), left[strong], right[strong])
    size = np.bincount(part)
    order = np.lexsort((np.arange(len(label)), -size[part], label))
    firsts = np.unique(label[order], return_index=True)[1]
    core = np.empty(label.max() + 1 if len(label) else 0, dtype=np.int64)
    core[label[order][firsts]] = part[order][firsts]
    outward = np.full(len(size), 0.0)
    crossing = part[left] != part[right]
    for side in (left, right):
        np.maximum.at(outward, part[side[crossing]], weight[crossing])
    return np.where(part == core[label], STRONGEST, outward[part])
