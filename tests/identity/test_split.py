"""Components that look wrong are split, others are left whole, and nothing depends on the order of things."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from identity import split as split_module
from identity.cluster import CERTAIN, STRONGEST, Evidence, cluster, link_weights
from identity.split import LARGEST_DENSE, TOGETHER, Pairs, components, split

NONE = np.array([], dtype=np.int64)


def pairs(*rows):
    left, right, p = zip(*rows, strict=True) if rows else ((), (), ())
    return Pairs(np.array(left, dtype=np.int64), np.array(right, dtype=np.int64), np.array(p, dtype=np.float64))


def groups(label):
    return sorted(sorted(np.nonzero(label == number)[0].tolist()) for number in np.unique(label))


def clique(members, p=0.99):
    return [(a, b, p) for at, a in enumerate(members) for b in members[at + 1 :]]


def test_one_chance_link_does_not_join_two_groups_of_five():
    found = split(10, pairs(*clique(range(5)), *clique(range(5, 10)), (0, 9, 0.99)), (NONE, NONE))
    assert groups(found) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_chain_of_three_and_a_group_with_half_its_pairs_stay_whole():
    assert groups(split(3, pairs((0, 1, 0.6), (1, 2, 0.6)), (NONE, NONE))) == [[0, 1, 2]]
    ring = [(a, (a + step) % 6, 0.95) for a in range(6) for step in (1, 2)]
    assert len(groups(split(6, pairs(*{(min(a, b), max(a, b), p) for a, b, p in ring}), (NONE, NONE)))) == 1


def test_pairs_below_even_odds_join_nobody():
    assert groups(split(2, pairs((0, 1, 0.49)), (NONE, NONE))) == [[0], [1]]


def test_too_large_a_component_is_cut_at_higher_odds_and_ends_however_sure_its_pairs_are(monkeypatch):
    """Two groups of five and one chance link; then a star of certain pairs, which no higher odds would cut."""
    monkeypatch.setattr(split_module, "LARGEST_DENSE", 6)
    rows = [(a, b, 0.99) for first in (0, 5) for a in range(first, first + 5) for b in range(a + 1, first + 5)]
    both = pairs(*rows, (4, 5, 0.7))
    assert sorted(map(sorted, groups(split(10, both, (NONE, NONE))))) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    star = pairs(*((0, other, 1.0) for other in range(1, 30)))
    assert groups(split(30, star, (NONE, NONE))) == [list(range(30))]
    apart = np.array([7]), np.array([8])
    found = groups(split(30, star, apart))
    assert max(map(len, found)) == 29
    assert not any({7, 8} <= set(group) for group in found)


def test_a_cannot_link_holds_for_the_whole_cluster():
    found = split(4, pairs(*clique(range(4))), (np.array([0]), np.array([3])))
    assert found[0] != found[3]
    assert len(groups(found)) == 2


def full_rule(size, found, together):
    """Average linkage over every component, without the shortcut, written again."""
    strong = found.p >= 0.5
    label = components(size, found.l[strong], found.r[strong])
    out = []
    for number in np.unique(label):
        members = np.nonzero(label == number)[0]
        at = {int(m): n for n, m in enumerate(members)}
        distance = np.ones((len(members), len(members)))
        for a, b, p in zip(found.l, found.r, found.p, strict=True):
            if int(a) in at and int(b) in at:
                distance[at[a], at[b]] = distance[at[b], at[a]] = 1 - p
        if len(members) == 1:
            out.append([int(members[0])])
            continue
        parts = fcluster(
            linkage(distance[np.triu_indices(len(members), 1)], "average"), 1 - together + 1e-12, "distance"
        )
        out += [[int(m) for m in members[parts == part]] for part in np.unique(parts)]
    return sorted(sorted(group) for group in out)


edge = st.tuples(st.integers(0, 8), st.integers(0, 8), st.floats(0.03, 0.9999)).filter(lambda e: e[0] < e[1])
graph = st.lists(edge, max_size=30, unique_by=lambda e: e[:2])


@settings(max_examples=300)
@given(graph)
def test_a_component_that_the_gate_skips_comes_out_unsplit_under_the_full_rule(rows):
    found = pairs(*rows)
    assert groups(split(9, found, (NONE, NONE))) == full_rule(9, found, TOGETHER)


@given(graph, st.randoms())
def test_clusters_do_not_depend_on_the_order_of_pairs(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert groups(split(9, pairs(*rows), (NONE, NONE))) == groups(split(9, pairs(*shuffled), (NONE, NONE)))


def evidence(size, hard=(), soft=(), cannot=(), same=()):
    hard = [*hard, *((*pair, 100 + at) for at, pair in enumerate(same))]
    left, right, star = zip(*hard, strict=True) if hard else ((), (), ())
    a, b, weight = zip(*soft, strict=True) if soft else ((), (), ())
    c, d = zip(*cannot, strict=True) if cannot else ((), ())

    def ints(values):
        return np.array(values, dtype=np.int64)

    return Evidence(
        size, (ints(left), ints(right), ints(star)), np.full(len(left), 20.0), (ints(a), ints(b)), np.array(weight), (ints(c), ints(d)),
        tuple("email" if at < 100 else "decision" for at in star),
    )  # fmt: skip


def test_hard_evidence_joins_at_once_and_alike_values_join_what_is_left():
    found = cluster(evidence(5, hard=[(0, 1, 1), (0, 2, 1)], soft=[(2, 3, 8.0)]))
    assert groups(found) == [[0, 1, 2, 3], [4]]


def test_a_cannot_link_takes_hard_evidence_apart_and_the_rest_goes_with_its_closest():
    """Records 0-3 share a phone; 0 and 3 must be two people; 1 shares an e-mail with 0 and 2 one with 3."""
    hard = [(0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 1, 2), (2, 3, 3)]
    found = cluster(evidence(4, hard=hard, cannot=[(0, 3)]))
    assert found[0] != found[3]
    assert len(groups(found)) == 2
    assert 0 < CERTAIN < 1


def test_one_who_must_be_apart_does_not_scatter_the_others_of_too_large_a_component():
    size = LARGEST_DENSE + 2
    found = cluster(evidence(size, hard=[(0, other, 1) for other in range(1, size)], cannot=[(1, 2)]))
    assert sorted(np.bincount(found).tolist()) == [1, size - 1]


def test_a_stewards_same_joins_all_of_both_clusters_not_two_records_of_them():
    """0 hangs on 1, and 2 on 3, 4 and 5, by likely pairs; joined first, 0 with 2 would hang on 1 by a fourth of the mean."""
    loose = [(0, 1, 4.0), (2, 3, 4.0), (2, 4, 4.0), (2, 5, 4.0), (3, 4, 4.0), (3, 5, 4.0), (4, 5, 4.0)]
    assert groups(cluster(evidence(6, soft=loose))) == [[0, 1], [2, 3, 4, 5]]
    assert groups(cluster(evidence(6, soft=loose, same=[(0, 2)]))) == [[0, 1, 2, 3, 4, 5]]


def test_a_stewards_same_holds_where_a_rule_takes_one_side_apart():
    """0, 1 and 2 share a phone, 1 and 2 must be two people; 0 is one with 3, 4 and 5 all the same."""
    hard = [(0, 1, 1), (0, 2, 1), (3, 4, 2), (3, 5, 2), (0, 1, 3)]
    found = cluster(evidence(6, hard, cannot=[(1, 2)], same=[(0, 3)]))
    assert found[0] == found[3] == found[4] == found[5]
    assert found[1] != found[2]


def test_who_is_apart_from_one_side_of_a_same_is_not_drawn_to_the_other():
    found = cluster(evidence(3, soft=[(0, 2, 6.0)], cannot=[(1, 2)], same=[(0, 1)]))
    assert groups(found) == [[0, 1], [2]]


two_of_eight = st.sampled_from([(a, b) for b in range(8) for a in range(b)])
hard_edges = st.lists(st.tuples(two_of_eight, st.integers(0, 3)).map(lambda e: (*e[0], e[1])), max_size=10)
soft_edges = st.lists(st.tuples(two_of_eight, st.floats(-4, 12)).map(lambda e: (*e[0], e[1])), max_size=14, unique_by=lambda e: e[:2])  # fmt: skip
apart = st.lists(two_of_eight, max_size=4)


@settings(max_examples=200)
@given(hard_edges, soft_edges, apart, apart)
def test_no_cluster_ever_holds_a_cannot_link(hard, soft, cannot, same):
    found = cluster(evidence(8, hard, soft, cannot, same))
    assert all(found[a] != found[b] for a, b in cannot)


@given(hard_edges, soft_edges, apart)
def test_a_same_that_nothing_speaks_against_always_holds_and_takes_nobody_from_anybody(hard, soft, same):
    before, found = cluster(evidence(8, hard, soft)), cluster(evidence(8, hard, soft, same=same))
    assert all(found[a] == found[b] for a, b in same)
    assert all(found[a] == found[b] for a in range(8) for b in range(8) if before[a] == before[b])


@given(hard_edges, soft_edges)
def test_a_record_without_evidence_changes_nobody(hard, soft):
    small, large = cluster(evidence(8, hard, soft)), cluster(evidence(9, hard, soft))
    assert groups(large) == sorted([*groups(small), [8]])


def test_the_weight_by_which_a_part_hangs_on_the_core():
    label = np.array([0, 0, 0, 1])
    left, right, weight = np.array([0, 1, 0]), np.array([1, 2, 2]), np.array([20.0, 7.0, 6.0])
    assert link_weights(label, left, right, weight, 10).tolist() == [STRONGEST, STRONGEST, 7.0, STRONGEST]


@pytest.mark.parametrize("size", [0, 1])
def test_nobody_and_somebody_alone(size):
    assert len(split(size, pairs(), (NONE, NONE))) == size
