-- Grain: customer who said anything in the last year, or spoke for us. Attitude: the newest answer to "would you recommend us" decides;
-- without one, the other answers and what feedback says, by majority. `advocacy` counts reviews with 4 or 5 stars, shares and referrals.
with answers as (
    select a.customer_id, a.question, a.grade, a.occurred_at, a.interaction_id
    from core__survey_answers as a
    cross join core__insight_terms as t
    where a.customer_id is not null and cast(a.occurred_at at time zone t.timezone as date) >= t.year_from
),

newest as (
    select customer_id, grade, row_number() over (partition by customer_id order by occurred_at desc, interaction_id) as nth
    from answers
    where question = 'nps'
),

said as (
    select customer_id, case when grade = 'satisfied' then 1 else -1 end as tone from answers where question <> 'nps'
    union all
    select f.customer_id, case when f.tone = 'positive' then 1 else -1 end as tone
    from mart__feedback as f
    cross join core__insight_terms as t
    where f.customer_id is not null and f.tone in ('positive', 'negative') and cast(f.occurred_at at time zone t.timezone as date) >= t.year_from
),

tones as (
    select customer_id, count(*) as remarks, sum(tone) as balance from said group by customer_id
),

spoke as (
    select c.customer_id, count(*) as advocacy
    from core__interactions as i
    join core__record_customers as c on c.record_id = i.record_id
    cross join core__insight_terms as t
    where cast(i.occurred_at at time zone t.timezone as date) >= t.year_from and i.occurred_at <= t.as_of
        and (i.kind in ('Product Shared', 'Friend Referred') or (i.kind = 'Product Reviewed' and try_cast(json_extract_string(i.details, '$.rating') as double) >= 4))
    group by c.customer_id
),

everybody as (
    select customer_id from newest
    union
    select customer_id from tones
    union
    select customer_id from spoke
)

select
    e.customer_id, n.grade as nps_grade, coalesce(s.remarks, 0) as remarks, coalesce(s.balance, 0) as balance, coalesce(p.advocacy, 0) as advocacy,
    case
        when n.grade = 'promoter' then 'high' when n.grade = 'detractor' then 'low' when n.grade = 'passive' then 'neutral'
        when s.balance > 0 then 'high' when s.balance < 0 then 'low' when s.remarks > 0 then 'neutral'
        when p.advocacy > 0 then 'high'
    end as attitude
from everybody as e
left join newest as n on n.customer_id = e.customer_id and n.nth = 1
left join tones as s on s.customer_id = e.customer_id
left join spoke as p on p.customer_id = e.customer_id
