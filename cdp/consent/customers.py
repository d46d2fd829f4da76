"""The consent flags of every customer, by the SQL twin of the pure function."""

from datetime import UTC, datetime
from typing import Any

from cdp.lake import build
from cdp.lake.engine import Lake

BEFORE = datetime(
    1970, 1, 1, tzinfo=UTC
)  # nothing has come into force yet: any time before all decisions means the same
TABLE = "core__customer_consents"
MOMENTS = """
    with moments as (
        select coalesce(captured_at, received_at) as moment from core__consent_decisions
        union all select expires_at from core__consent_decisions
        union all select confirmed_at from core__consent_decisions
        union all
        select coalesce(d.captured_at, d.received_at) + r.grant_lasts_days * interval '1' day
        from core__consent_decisions as d
        join (select distinct purpose, grant_lasts_days from core__consent_rules) as r using (purpose)
    )
    select max(moment) from moments where moment <= $now
"""

UNUSABLE = """
    with reasons as (
        select 'purpose not in consent.yaml' as why, source, purpose from core__consent_decisions
        where purpose not in (select purpose from core__purposes)
        union all
        select 'dated in the future', source, purpose from core__consent_decisions where coalesce(captured_at, received_at) > $now
    )
    select why, source, purpose, count(*) as decisions from reasons group by all order by all
"""


def flags() -> build.Select:
    """The select of every customer's flags."""
    return build.sql_file("consent", TABLE)


def build_customer_consents(lake: Lake, now: datetime) -> build.Built:
    """`core__customer_consents` as of `now`.

    It depends on `now` only by what has come into force or run out by then; the last such moment stands for it, so
    that time alone has nothing made again.
    """
    moment = None if build.is_empty(lake, "core__consent_decisions") else lake.scalar(MOMENTS, {"now": now})
    return build.build(lake, flags(), {"now": moment or BEFORE})


def unusable(lake: Lake, now: datetime) -> list[dict[str, Any]]:
    """Decisions that decide nothing: {why, source, purpose, decisions}."""
    if build.is_empty(lake, "core__consent_decisions"):
        return []
    rows = lake.rows(UNUSABLE, {"now": now})
    return [dict(zip(("why", "source", "purpose", "decisions"), row, strict=True)) for row in rows]
