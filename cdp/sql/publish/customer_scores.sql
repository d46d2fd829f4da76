-- Grain: customer, as served: what is measured of one, with the versions of the models behind it. Whoever denied the purpose that
-- lets scores be used, or processing as a whole, has none.
with members as (
    select customer_id, string_agg(segment, ',' order by segment) as segments
    from mart__segments
    group by customer_id
),

denied as (
    select distinct f.customer_id
    from core__customer_consents as f
    cross join core__insight_terms as t
    where f.purpose in (t.purpose, 'processing') and f.status in ('denied', 'withdrawn', 'expired')
)

select
    s.customer_id,
    cast(to_json({
        'state': s.state, 'stage': s.stage, 'loyalty': s.loyalty, 'loyalty_evidence': s.loyalty_evidence,
        'recency': s.r, 'frequency': s.f, 'monetary': s.m, 'purchase_days': s.purchase_days,
        'net': cast(round(s.net, 2) as double), 'currency': s.currency,
        'preferred_channel': s.preferred_channel, 'preferred_time': s.preferred_time,
        'discounted_share': round(s.discounted_share, 3),
        'churn': round(s.churn, 3), 'churn_reasons': s.churn_reasons, 'churn_version': s.churn_version,
        'value': round(s.value, 2), 'expected_purchases': round(s.expected_purchases, 2), 'value_version': s.value_version,
        'segments': string_split(m.segments, ',')
    }) as varchar) as scores
from mart__customer_scores as s
left join members as m on m.customer_id = s.customer_id
left join denied as d on d.customer_id = s.customer_id
where d.customer_id is null
