"""Pairs that were joined by a small margin: where the model was least sure."""

from typing import Any

from cdp.lake.engine import Lake

LOOKED_AT = 300


def strongest(lake: Lake) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The compared values of the joined pairs of least weight, left and right."""
    query = f"""
        select l, r from (
            select e.left_id, e.right_id, e.weight, l, r from core__probabilistic_edges e
            join core__payloads l on l.record_id = e.left_id join core__payloads r on r.record_id = e.right_id
            where e.type = 'similar' order by e.weight, e.left_id, e.right_id limit {LOOKED_AT}
        )
    """
    return [(dict(left), dict(right)) for left, right in lake.rows(query)]
