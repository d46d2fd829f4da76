-- Grain: pair of contact records × type of evidence, as served.
select left_id, right_id, type, kind, weight, model_version, evidence
from core__edges
