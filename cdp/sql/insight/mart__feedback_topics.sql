-- Grain: topic × tone × channel × month, over the last year. How many remarks; one with several topics counts for each, one with none
-- for `other`.
with said as (
    select
        f.channel, f.tone, f.confidence, case when length(f.topics) = 0 then 'other' else f.topics end as topics,
        substring(cast(cast(f.occurred_at at time zone t.timezone as date) as varchar), 1, 7) as month
    from mart__feedback as f
    cross join core__insight_terms as t
),

topics as (
    select 'price' as topic
    union all select 'quality' union all select 'service' union all select 'delivery' union all select 'personalisation'
    union all select 'returns' union all select 'points' union all select 'website' union all select 'other'
)

select p.topic, s.tone, s.channel, s.month, min(s.confidence) as confidence, count(*) as remarks
from said as s
join core__insight_months as m on m.month = s.month
join topics as p on contains(s.topics, p.topic)
group by p.topic, s.tone, s.channel, s.month
