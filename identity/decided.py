"""Stewards' "same" over clusters: it joins all that both sides hold, and carries what must stay apart with it."""

from collections import defaultdict

import numpy as np

from identity.split import Ints, components

Ends = tuple[Ints, Ints]


def spread(cannot: Ends, same: Ends, size: int) -> Ends:
    """The pairs that must stay apart, with those that follow: who is apart from one is apart from all joined with it.

    Without them a likely pair could draw a stranger to one side before the sides are joined, and bar their joining.

    Args:
        cannot: Pairs of vertices that must stay apart.
        same: Pairs of vertices that stewards joined.
        size: Number of vertices.
    """
    if not len(same[0]):
        return cannot
    group = components(size, *same)
    members: dict[int, list[int]] = defaultdict(list)
    for vertex in np.unique(np.concatenate(same)).tolist():
        members[int(group[vertex])].append(vertex)
    joined = np.isin(group, list(members))
    apart = (joined[cannot[0]] | joined[cannot[1]]) & (group[cannot[0]] != group[cannot[1]])
    more = sorted(
        {
            (one, other)
            for a, b in zip(cannot[0][apart].tolist(), cannot[1][apart].tolist(), strict=True)
            for one in members.get(int(group[a]), [a])
            for other in members.get(int(group[b]), [b])
        }
    )
    left, right = (np.array([pair[side] for pair in more], dtype=np.int64) for side in (0, 1))
    return np.concatenate([cannot[0], left]), np.concatenate([cannot[1], right])


def join(label: Ints, same: Ends, cannot: Ends) -> Ints:
    """The labels after stewards' joining, in the order given; where it would join what must stay apart, they stay.

    Args:
        label: Cluster of every vertex.
        same: Pairs of vertices that stewards joined.
        cannot: Pairs of vertices that must stay apart.
    """
    into: dict[int, int] = {}

    def root(cluster: int) -> int:
        while cluster in into:
            cluster = into[cluster]
        return cluster

    ends = np.unique(label[np.concatenate(same)])
    one, other = label[cannot[0]], label[cannot[1]]
    concerned = np.isin(one, ends) | np.isin(other, ends)
    apart: dict[int, set[int]] = defaultdict(set)
    for a, b in zip(one[concerned].tolist(), other[concerned].tolist(), strict=True):
        apart[a].add(b)
        apart[b].add(a)
    for a, b in zip(label[same[0]].tolist(), label[same[1]].tolist(), strict=True):
        keep, gone = sorted((root(a), root(b)))
        if keep == gone or keep in {root(c) for c in apart[gone]}:
            continue
        into[gone] = keep
        apart[keep] |= apart.pop(gone, set())
    found, number = np.unique(label, return_inverse=True)
    roots = np.array([root(cluster) for cluster in found.tolist()], dtype=np.int64) if into else found
    joined: Ints = roots[number]
    return joined
