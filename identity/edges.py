"""The model's likely pairs as edges between contact records: evidence to serve, to explain and to review."""

from cdp.lake import build
from cdp.lake.engine import Lake
from identity import scopes
from identity.artefact import Model

TABLE = "core__probabilistic_edges"
SELECT = """
    with firsts as (select node, min(record_id) as record_id, count(*) as records from core__payloads group by node),
    found as (
        select least(a.record_id, b.record_id) as left_id, greatest(a.record_id, b.record_id) as right_id, 'similar' as type, s.weight
        from core__scored_pairs s join firsts a on a.node = s.l join firsts b on b.node = s.r
        union all
        select f.record_id, n.record_id, 'identical' as type, w.weight
        from firsts f join core__payloads n using (node) join core__payload_worth w using (node) where n.record_id <> f.record_id
    )
    select left_id, right_id, type, 'probabilistic' as kind, round(weight, 6) as weight, $version as model_version, '{}' as evidence
    from found where weight >= $threshold order by left_id, right_id, type
"""


def build_edges(lake: Lake, trained: Model | None) -> build.Built:
    """`core__probabilistic_edges`: pairs at or above the model's threshold, each between the first records of two payloads."""
    version, threshold = (trained.version, trained.threshold) if trained else ("none", 0.0)
    inputs = ("core__payloads", "core__scored_pairs", "core__payload_worth")
    parts = (version, threshold, "edges 2")
    parameters = {"version": version, "threshold": threshold}
    return build.refresh(
        lake, TABLE, build.fingerprint(lake, inputs, *parts), build.fingerprint(lake, (), *parts), ("left_id", "right_id"),
        lambda: SELECT, scopes.probabilistic_edges, parameters,
    )  # fmt: skip
