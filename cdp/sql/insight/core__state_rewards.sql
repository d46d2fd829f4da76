-- Grain: loyalty state. What a customer in it brings in the month after, on average over the whole months of the last year.
with placed as (
    select c.customer_id, c.state, n.month as next_month
    from core__customer_months as c
    join core__insight_months as n on n.number = c.number + 1
    cross join core__insight_terms as t
    where n.number < t.newest_month
)

select p.state, count(*) as customer_months, cast(sum(coalesce(b.sales + b.returned, 0)) as double) / count(*) as reward
from placed as p
left join core__customer_periods as b on b.customer_id = p.customer_id and b.channel = 'all' and b.period = p.next_month
group by p.state
