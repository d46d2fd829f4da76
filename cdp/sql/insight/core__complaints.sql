-- Grain: customer × cutoff. Negative remarks in the horizon before it, and how many of them name each of the usual causes.
select
    f.customer_id, c.cutoff, count(*) as complaints,
    sum(case when contains(f.topics, 'price') then 1 else 0 end) as price, sum(case when contains(f.topics, 'quality') then 1 else 0 end) as quality,
    sum(case when contains(f.topics, 'delivery') then 1 else 0 end) as delivery, sum(case when contains(f.topics, 'service') then 1 else 0 end) as service,
    sum(case when contains(f.topics, 'personalisation') then 1 else 0 end) as personalisation
from mart__feedback as f
cross join core__insight_terms as t
join core__churn_cutoffs as c
    on cast(f.occurred_at at time zone t.timezone as date) <= c.cutoff and cast(f.occurred_at at time zone t.timezone as date) > c.horizon_from
where f.customer_id is not null and f.tone = 'negative'
group by f.customer_id, c.cutoff
