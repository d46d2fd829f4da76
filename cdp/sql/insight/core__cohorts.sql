-- Grain: month of the first purchase × months since. Customers of the cohort who bought in that month or later: who is not there any
-- more has left for good as far as the data shows. Only cohorts of the last three years, and months that are over.
with people as (
    select a.customer_id, f.number as came, l.number as left_at
    from core__customer_purchases as a
    join core__cohort_months as f on f.month = substring(cast(a.first_day as varchar), 1, 7)
    join core__cohort_months as l on l.month = substring(cast(a.last_day as varchar), 1, 7)
    where a.channel = 'all'
)

select p.came as cohort, m.month as cohort_month, n.number - p.came as months, sum(case when p.left_at >= n.number then 1 else 0 end) as customers
from people as p
join core__cohort_months as m on m.number = p.came
join core__cohort_months as n on n.number >= p.came
where n.number < (select max(number) from core__cohort_months)
group by p.came, m.month, n.number
