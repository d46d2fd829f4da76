-- Grain: question × channel (and `all`) × loyalty state of the customer (and `all`) × period (`year`, and the months). How many
-- answered how; `good` are promoters or satisfied, `bad` detractors or unsatisfied, the others passive.
with dated as (
    select
        a.question, a.channel, coalesce(s.state, 'prospect') as state, a.grade,
        substring(cast(cast(a.occurred_at at time zone t.timezone as date) as varchar), 1, 7) as month,
        case when cast(a.occurred_at at time zone t.timezone as date) >= t.year_from then 1 else 0 end as is_year
    from core__survey_answers as a
    cross join core__insight_terms as t
    left join core__customer_months as s on s.customer_id = a.customer_id and s.number = t.newest_month
),

periods as (
    select d.question, d.channel, d.state, d.grade, 'year' as period from dated as d where d.is_year = 1
    union all
    select d.question, d.channel, d.state, d.grade, d.month as period
    from dated as d
    join core__insight_months as m on m.month = d.month
),

spread as (
    select question, channel, state, grade, period from periods
    union all
    select question, 'all' as channel, state, grade, period from periods
),

whole as (
    select question, channel, state, grade, period from spread
    union all
    select question, channel, 'all' as state, grade, period from spread
)

select
    question, channel, state, period, count(*) as answers,
    sum(case when grade in ('promoter', 'satisfied') then 1 else 0 end) as good,
    sum(case when grade in ('detractor', 'unsatisfied') then 1 else 0 end) as bad
from whole
group by question, channel, state, period
