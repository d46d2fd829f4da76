-- Grain: pair of contact records × type of evidence: everything that says two records are one person.
-- Changes are told by: left_id, right_id
select left_id, right_id, type, kind, weight, model_version, evidence from core__identifier_edges
union all
select left_id, right_id, type, kind, weight, model_version, evidence from core__probabilistic_edges
union all
select left_id, right_id, 'decision' as type, 'steward' as kind, cast(99 as double) as weight, 'steward' as model_version, evidence
from core__steward_links
where verdict = 'same'
