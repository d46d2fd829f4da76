-- Grain: answer. What people said when asked: `nps` (would you recommend us, 0 to 10; any number counts, 8.5 is passive), `csat`
-- (satisfied or not) and `rating` (1 to 5 stars). Grade: promoter, passive, detractor; satisfied, unsatisfied. No answer is no row.
with said as (
    select
        i.interaction_id, i.record_id, i.source,
        coalesce(try_cast(json_extract_string(i.details, '$.updated_at') as timestamptz), i.occurred_at) as occurred_at,
        try_cast(json_extract_string(i.details, '$.nps') as double) as nps,
        lower(json_extract_string(i.details, '$.satisfaction')) as satisfaction,
        try_cast(json_extract_string(i.details, '$.rating') as double) as rating
    from core__interactions as i
    cross join core__insight_terms as t
    where i.occurred_at <= t.as_of
),

answers as (
    select
        *, 'nps' as question, nps as value,
        case when nps >= 9 then 'promoter' when nps >= 7 then 'passive' else 'detractor' end as grade
    from said where nps between 0 and 10
    union all
    select
        *, 'csat' as question, null as value,
        case when satisfaction in ('good', 'great', 'satisfied', 'very satisfied', 'yes', '4', '5', '满意', '非常满意', '好', '很好', '滿意', '非常滿意') then 'satisfied' else 'unsatisfied' end as grade
    from said
    where satisfaction in (
        'good', 'great', 'satisfied', 'very satisfied', 'yes', '4', '5', '满意', '非常满意', '好', '很好', '滿意', '非常滿意',
        'bad', 'poor', 'unsatisfied', 'dissatisfied', 'very dissatisfied', 'no', '1', '2', '3', '不满意', '非常不满意', '差', '很差', '一般', '不滿意', '非常不滿意'
    )
    union all
    select *, 'rating' as question, rating as value, case when rating >= 4 then 'satisfied' else 'unsatisfied' end as grade
    from said where rating between 1 and 5
)

select
    a.interaction_id, a.record_id, c.customer_id, a.source as channel, a.question, a.value, a.grade, a.occurred_at
from answers as a
left join core__record_customers as c on c.record_id = a.record_id
