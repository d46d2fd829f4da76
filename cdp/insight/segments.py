"""Segments: the built-in ones and the tenant's own, who is in them, and since when."""

from datetime import datetime
from typing import Any

from cdp.insight.rules import Insight
from cdp.lake import build, fill, register
from cdp.lake.build import Built, Select
from cdp.lake.engine import Lake

TABLE, HISTORY, SCORES = "mart__segments", "ops__segment_history", "mart__customer_scores"
STATES = f"select state as segment, customer_id from {SCORES}"
HIGH = f"select 'high_value' as segment, customer_id from {SCORES} where m = 5"
SLOWING = f"select 'slowing' as segment, customer_id from {SCORES} where is_slowing"


def select(rules: Insight) -> tuple[Select, dict[str, Any]]:
    """The select of all segments, and what is bound into it. Names come from a checked file, values are bound."""
    parts: list[str] = [STATES, HIGH, SLOWING]
    bound: dict[str, Any] = {}
    for number, (name, segment) in enumerate(sorted(rules.segments.items())):
        condition, values = segment.condition(f"s{number}_")
        parts.append(f"select '{name}' as segment, customer_id from {SCORES} where {condition}")
        bound |= values
    return Select(TABLE, "\nunion all\n".join(parts), build_segments.__doc__ or ""), bound


def build_segments(lake: Lake, rules: Insight) -> Built:
    """`mart__segments`: grain = segment × customer in it. Loyalty states, `high_value` (the best fifth by net spend), `slowing`, and the segments of insight.yaml."""
    query, bound = select(rules)
    return build.build(lake, query, bound or None)


def counts(lake: Lake, rules: Insight) -> dict[str, int]:
    """How many each segment would hold, by the scores there are; nothing is written."""
    query, bound = select(rules)
    names = ["high_value", "slowing", *sorted(rules.segments)]
    found = dict(lake.rows(f"select segment, count(*) from ({query.sql}) as s group by 1", bound or None))
    return {name: int(found.get(name, 0)) for name in [*sorted(set(found) - set(names)), *names]}


@build.timed
def build_history(lake: Lake, now: datetime) -> Built:
    """`ops__segment_history`: grain = segment × customer × stay. Since when, and until when; who is no customer any more has no history."""
    mark = build.fingerprint(lake, (TABLE, "core__customers"), "history 1")
    if register.recorded(lake, HISTORY) == mark:
        return Built(HISTORY, build.rows(lake, HISTORY), changed=False)
    query = f"""
        with before as (from {HISTORY}), living as (select customer_id from core__customers union select customer_id from {TABLE})
        select b.segment, b.customer_id, b.since, case when b.until is null and s.customer_id is null then $now else b.until end as until
        from before b join living using (customer_id)
        left join {TABLE} s on s.segment = b.segment and s.customer_id = b.customer_id
        union all
        select s.segment, s.customer_id, $now, null from {TABLE} s
        anti join (select segment, customer_id from before where until is null) b on b.segment = s.segment and b.customer_id = s.customer_id
    """
    lake.write(lambda: fill.make(lake, HISTORY, query, mark, {"now": now}), f"build {HISTORY}")
    return Built(HISTORY, build.rows(lake, HISTORY), changed=True)
