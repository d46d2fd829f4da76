"""Why records are one customer, in words: what joins them, in which order, and what would be without it."""

from dataclasses import dataclass

from cdp.store import evidence
from cdp.store.evidence import DECISION, KEPT, Edge, Material
from identity.assembly import births_apart, partition, scored_pairs, without_edge, without_value
from identity.guards import two_people
from identity.scorer import Part, Scorer, complete

WORDS = {
    "email": "the same e-mail", "phone": "the same phone", "card": "the same loyalty card", "browser": "a login in the same browser",
    "order_reference": "a ticket or return that names the other's order", "wechat_openid": "the same WeChat openid",
    "wechat_unionid": "the same WeChat unionid", "similar": "values alike enough for one person", "identical": "identical values",
    "decision": "a steward's decision",
}  # fmt: skip


RULED_APART = "a limit or a rule of identity.yaml, what others share with them, or a model newer than the last run keeps them apart"
DECIDED = "a steward decided that they are two people"
NAMES = "their given names are two people's: nothing they share joins them"
NAMELESS = (
    "one of them gives no full name, or only values that too many people have, so only identifiers could join them"
)
BIRTHS = "their birth dates and given names are two people's"
SPLIT = "evidence leads from one to the other, but too little of what lies across agrees, so they were split"
NOTHING = "no identifier, order or similar values join them"
JOINED_BEFORE = "what joined them is not among the published evidence: the next run judges it again"


@dataclass(frozen=True)
class Step:
    """One step of a merge tree: the strongest evidence that joins two groups of records.

    Attributes:
        left_id: A record of the one group.
        right_id: A record of the other.
        type: Type of the evidence.
        kind: exact, rule, probabilistic or steward.
        weight: Match weight (log2 odds).
        words: The evidence in words.
        left_size: Records of the one group.
        right_size: Records of the other.
        parts: What each field says, for probabilistic evidence.
        without: How the records would fall apart if this one edge were not there; one group if they would not.
    """

    left_id: str
    right_id: str
    type: str
    kind: str
    weight: float
    words: str
    left_size: int
    right_size: int
    parts: list[Part]
    without: list[list[str]]


def assembled(material: Material, scorer: Scorer | None) -> list[Step]:
    """How a customer came together: a merge tree, strongest evidence first (Kruskal), each step with its counterfactual."""
    edges = [*material.edges, *_alike(material, scorer)]
    edges.sort(key=lambda edge: (-edge[4], edge[0], edge[1], edge[2]))
    group = {record: record for record in material.records}
    size = dict.fromkeys(material.records, 1)

    def root(record: str) -> str:
        while group[record] != record:
            record = group[record]
        return record

    steps = []
    for left, right, kind, sort, weight, _ in edges:
        a, b = root(left), root(right)
        if a == b:
            continue
        steps.append(
            Step(
                left, right, kind, sort, weight, WORDS.get(kind, kind), size[a], size[b],
                _parts(material, scorer, left, right) if kind == "similar" else [],
                partition(without_edge(material, left, right, kind), scorer),
            )
        )  # fmt: skip
        first, second = sorted((a, b))
        group[second] = first
        size[first] = size[a] + size[b]
    return steps


@dataclass(frozen=True)
class Verdict:
    """Why two records are, or are not, one customer.

    Attributes:
        together: Whether they are one customer.
        weight: Match weight of their values; None where one has no full name to compare.
        threshold: From which weight on values alone join.
        reasons: In words, the decisive one first.
        parts: What each field says.
        path: Edges that lead from the one to the other, (left, right, type, weight).
    """

    together: bool
    weight: float | None
    threshold: float | None
    reasons: list[str]
    parts: list[Part]
    path: list[tuple[str, str, str, float]]


def pair(material: Material, scorer: Scorer | None, left: str, right: str, *, together: bool) -> Verdict:
    """Why or why not, for two records of the material that are `together` one customer, or are not."""
    groups = partition(material, scorer)
    expected = any(left in group and right in group for group in groups)
    found = evidence.firsts(material)
    firsts = (found.get(left), found.get(right))
    compared = scorer is not None and all(firsts) and firsts[0] != firsts[1]
    parts = _parts(material, scorer, firsts[0] or "", firsts[1] or "") if compared else []
    weight = scorer.model.prior_weight + sum(p.weight for p in parts) if scorer and compared else None
    path = _path(material, scorer, left, right)
    reasons = [f"{WORDS.get(kind, kind)} (weight {w:.1f})" for _, _, kind, w in path]
    if not together:
        reasons = _why_not(material, scorer, left, right, firsts, weight, path)
        if expected:
            reasons = [RULED_APART, *(reason for reason in reasons if reason not in (SPLIT, NOTHING))]
    elif not expected:
        reasons = [*reasons, JOINED_BEFORE]
    threshold = scorer.model.threshold if scorer else None
    return Verdict(together, weight, threshold, reasons, parts, path if together else [])


def _why_not(
    material: Material, scorer: Scorer | None, left: str, right: str, firsts: tuple[str | None, str | None], weight: float | None,
    path: list[tuple[str, str, str, float]],
) -> list[str]:  # fmt: skip
    ruled, more = [], []  # what alone keeps them apart; what does where nothing of that is so
    if any({a, b} == {left, right} and verdict == "different" for a, b, verdict in material.decisions):
        ruled.append(DECIDED)
    if any({a, b} == {left, right} for a, b in births_apart(material)):
        ruled.append(BIRTHS)
    values = [material.payloads[first][0] for first in firsts if first]
    if len(values) == 2 and two_people(values[0], values[1]):
        ruled.append(NAMES)
    if path and not ruled:
        more.append(SPLIT)
    if weight is not None and scorer and weight < scorer.model.threshold:
        more.append(f"their values weigh {weight:.1f}, below the threshold of {scorer.model.threshold:.1f}")
    if not all(firsts):
        more.append(NAMELESS)
    return [*ruled, *more] or [NOTHING]


def without_identifier(material: Material, scorer: Scorer | None, kind: str, value: str) -> list[list[str]]:
    """The groups that would remain if this identifier had never been given."""
    return partition(without_value(material, scorer, kind, value), scorer)


def _parts(material: Material, scorer: Scorer | None, left: str, right: str) -> list[Part]:
    if scorer is None or left not in material.payloads or right not in material.payloads:
        return []
    a, b = (complete(material.payloads[record][0], scorer.model) for record in (left, right))
    return [part for part in scorer.parts(a, b) if part.weight]


def _alike(material: Material, scorer: Scorer | None) -> list[Edge]:
    """The pairs of payloads that the model holds for one person, as edges."""
    if scorer is None:
        return []
    return [
        (pair.left, pair.right, "similar", "probabilistic", pair.weight, {})
        for pair in scored_pairs(material, scorer)
        if pair.weight >= scorer.model.threshold
    ]


def _path(material: Material, scorer: Scorer | None, left: str, right: str) -> list[tuple[str, str, str, float]]:
    """The shortest way of evidence between two records; over words that a split left only where nothing else leads."""
    found = [*material.edges, *_alike(material, scorer)]
    judged = [edge for edge in found if not (edge[2] == DECISION and edge[4] == KEPT)]
    return _way(judged, left, right) or _way(found, left, right)


def _way(edges: list[Edge], left: str, right: str) -> list[tuple[str, str, str, float]]:
    ways: dict[str, list[tuple[str, tuple[str, str, str, float]]]] = {}
    for edge in [(a, b, kind, weight) for a, b, kind, _, weight, _ in edges]:
        ways.setdefault(edge[0], []).append((edge[1], edge))
        ways.setdefault(edge[1], []).append((edge[0], edge))
    seen: dict[str, list[tuple[str, str, str, float]]] = {left: []}
    queue = [left]
    for record in queue:
        for other, edge in sorted(ways.get(record, [])):
            if other not in seen:
                seen[other] = [*seen[record], edge]
                queue.append(other)
    return seen.get(right, [])
