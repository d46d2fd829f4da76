"""Components of likely pairs, and the splitting of those that look wrong.

Two records are a likely pair when the model gives them even odds or better. Components of likely pairs come first;
then two groups stay together only if the mean match probability over all pairs across them is at least `TOGETHER`,
judged bottom-up by average linkage (Sokal and Michener 1958): one chance link cannot join two groups, a chain of
typing errors of one person can. A pair that was never scored counts as no match.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOGETHER = 0.2  # a fifth of the pairs across, were each certain
LIKELY = 0.5
LARGEST_DENSE = 3_000  # vertices of one component that are compared all with all
SURE = 1 - 1e-6  # a larger component that pairs as likely as this hold together is cut no further
FORBIDDEN = 1e9  # distance of a cannot-link: no average over a component outweighs it

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of vertices with their match probability; `l`, `r` and `p` run in parallel."""

    l: Ints  # noqa: E741
    r: Ints
    p: Floats

    def where(self, mask: npt.NDArray[np.bool_]) -> "Pairs":
        """Those of a mask."""
        return Pairs(self.l[mask], self.r[mask], self.p[mask])

    def __len__(self) -> int:
        return len(self.l)


def probability(weight: Floats) -> Floats:
    """Match weight (log2 odds) to probability."""
    return 1.0 / (1.0 + np.exp2(-np.clip(weight, -60, 60)))


def components(size: int, left: Ints, right: Ints) -> Ints:
    """Component number of every vertex."""
    from scipy.sparse import coo_array  # scipy is slow to load, and a run over nothing new clusters nothing
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(size, size))
    labels: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def split(
    size: int, pairs: Pairs, cannot: tuple[Ints, Ints], likely: float = LIKELY, together: float = TOGETHER
) -> Ints:
    """Cluster label of every vertex; a vertex's number among its equals decides ties, so callers number by record id.

    Args:
        size: Number of vertices.
        pairs: Scored pairs, each once.
        cannot: Pairs that must not end in one cluster.
        likely: Least probability of a pair that joins components.
        together: Least mean probability across two groups that stay together.
    """
    strong = pairs.p >= likely
    label = components(size, pairs.l[strong], pairs.r[strong])
    inside = pairs.where(label[pairs.l] == label[pairs.r])
    apart = label[cannot[0]] == label[cannot[1]]
    cannot = (cannot[0][apart], cannot[1][apart])
    for members, own, kept_apart in _suspicious(label, inside, cannot, together):
        found = _average_linkage(len(members), own, kept_apart, likely, together)
        rest = found > 0
        label[members[rest]] = label.max() + found[rest]
    return label


def _suspicious(
    label: Ints, inside: Pairs, cannot: tuple[Ints, Ints], together: float
) -> Iterator[tuple[Ints, Pairs, tuple[Ints, Ints]]]:
    """Components that the full rule might split: (members, pairs and cannot-links numbered within them).

    A component passes unseen if every vertex is tied to the others by d >= (1 + t) n / 2 - 1: then any part of a <= n/2
    vertices has at least a (d - a + 1) across, a mean of at least t over the a (n - a) pairs. Up to three vertices that
    even odds join always pass.
    """
    sizes = np.bincount(label)
    degree = np.bincount(inside.l, inside.p, len(label)) + np.bincount(inside.r, inside.p, len(label))
    least = np.full(len(sizes), np.inf)
    np.minimum.at(least, label, degree)
    doubtful = (sizes > 3) & (least < (1 + together) * sizes / 2 - 1)
    doubtful[label[cannot[0]]] = True
    order = np.argsort(label, kind="stable")
    start = np.concatenate([[0], np.cumsum(sizes)])
    at = np.zeros(len(label), dtype=np.int64)
    pair_label, cannot_label = label[inside.l], label[cannot[0]]
    by_pair, by_cannot = np.argsort(pair_label, kind="stable"), np.argsort(cannot_label, kind="stable")
    pair_start = np.searchsorted(pair_label[by_pair], np.arange(len(sizes) + 1))
    cannot_start = np.searchsorted(cannot_label[by_cannot], np.arange(len(sizes) + 1))
    for component in np.nonzero(doubtful)[0]:
        members = order[start[component] : start[component + 1]]
        at[members] = np.arange(len(members))
        chosen = by_pair[pair_start[component] : pair_start[component + 1]]
        forbidden = by_cannot[cannot_start[component] : cannot_start[component + 1]]
        own = Pairs(at[inside.l[chosen]], at[inside.r[chosen]], inside.p[chosen])
        yield members, own, (at[cannot[0][forbidden]], at[cannot[1][forbidden]])


def _average_linkage(size: int, own: Pairs, cannot: tuple[Ints, Ints], likely: float, together: float) -> Ints:
    """Groups of one component, numbered from 0; too large a component is first cut at a higher probability."""
    if size > LARGEST_DENSE and likely < SURE:
        return split(size, own, cannot, likely=1 - (1 - likely) / 2, together=together)
    if size > LARGEST_DENSE:
        return _held_by_sure_pairs(size, own, cannot)
    distance = np.ones((size, size))
    distance[own.l, own.r] = distance[own.r, own.l] = 1 - own.p
    distance[cannot[0], cannot[1]] = distance[cannot[1], cannot[0]] = FORBIDDEN
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(distance[np.triu_indices(size, 1)], "average")
    groups: Ints = fcluster(tree, 1 - together + 1e-12, "distance").astype(np.int64)
    return _from_zero(groups)


def _held_by_sure_pairs(size: int, own: Pairs, cannot: tuple[Ints, Ints]) -> Ints:
    """Groups of what too large a component holds for certain: pair by pair, the surest first, never against a cannot-link."""
    from identity.decided import join

    order = np.lexsort((own.r, own.l, -own.p))
    sure = order[own.p[order] >= SURE]
    return _from_zero(join(np.arange(size), (own.l[sure], own.r[sure]), cannot))


def _from_zero(groups: Ints) -> Ints:
    """The groups numbered in the order of their first members."""
    _, first, numbered = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    renumbered: Ints = rank[numbered]
    return renumbered
