-- Grain: customer who is known, or bought. Everything that is measured of one customer, side by side: the seam to campaigns and
-- recommendations. Slowing bought on two days or more in the horizon before the last one, and on half as many or fewer in that. Scores of a model that failed its holdout are null; its card says why. Stages: acquisition (no second purchase
-- day yet), growth (buys more than in the horizon before), maturity, decline (silent too long, or buying less).
with people as (
    select customer_id from core__customers where kind = 'known'
    union
    select customer_id from core__customer_purchases where channel = 'all'
),

states as (
    select m.customer_id, m.state from core__customer_months as m join core__insight_terms as t on t.newest_month = m.number
),

recent as (
    select customer_id, days_horizon, days_before from core__churn_features where role = 'score'
)

select
    p.customer_id, coalesce(s.state, 'prospect') as state,
    case
        when s.state is null or s.state = 'new' then 'acquisition'
        when s.state in ('at_risk', 'dormant', 'churned') or f.days_horizon < f.days_before then 'decline'
        when f.days_horizon > f.days_before then 'growth'
        else 'maturity'
    end as stage,
    coalesce(f.days_before >= 2 and 2 * f.days_horizon <= f.days_before, false) as is_slowing,
    r.r, r.f, r.m, b.recency_days, coalesce(b.days, 0) as purchase_days, cast(b.net as double) as net, t.currency,
    h.preferred_channel, h.preferred_time, h.weekend_share, h.discounted_share,
    l.loyalty, l.evidence as loyalty_evidence,
    case when c.is_trusted then c.churn end as churn, case when c.is_trusted then c.reasons end as churn_reasons, c.model_version as churn_version,
    case when v.is_trusted then v.value end as value, case when v.is_trusted then v.expected_purchases end as expected_purchases,
    v.model_version as value_version
from people as p
cross join core__insight_terms as t
left join states as s on s.customer_id = p.customer_id
left join recent as f on f.customer_id = p.customer_id
left join mart__rfm as r on r.customer_id = p.customer_id and r.channel = 'all'
left join core__customer_purchases as b on b.customer_id = p.customer_id and b.channel = 'all'
left join core__customer_traits as h on h.customer_id = p.customer_id
left join mart__loyalty_types as l on l.customer_id = p.customer_id
left join mart__churn as c on c.customer_id = p.customer_id
left join mart__customer_value as v on v.customer_id = p.customer_id
