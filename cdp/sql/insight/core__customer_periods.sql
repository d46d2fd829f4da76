-- Grain: customer × channel (and `all`) × period. Periods are the months of the last year, `year` (365 days up to the run) and
-- `year_before`. Orders, days with an order, and money of the currency of reports.
with dated as (
    select
        p.customer_id, p.channel, p.day, p.orders, m.month,
        case when p.day >= t.year_from then 'year' when p.day >= t.two_years_from then 'year_before' end as year_of,
        case when p.currency = t.currency then p.orders else 0 end as paid_orders, case when p.currency = t.currency then p.sales else 0 end as sales,
        case when p.currency = t.currency then p.returned else 0 end as returned
    from core__purchase_days as p
    cross join core__insight_terms as t
    left join core__insight_months as m on m.month = substring(cast(p.day as varchar), 1, 7)
),

spread as (
    select customer_id, channel, day, month as period, orders, paid_orders, sales, returned from dated where month is not null
    union all
    select customer_id, channel, day, year_of as period, orders, paid_orders, sales, returned from dated where year_of is not null
),

channels as (
    select
        customer_id, channel, period, sum(orders) as orders, count(distinct case when orders > 0 then day end) as days,
        sum(paid_orders) as paid_orders, sum(sales) as sales, sum(returned) as returned
    from spread
    group by customer_id, channel, period
)

select * from channels
union all
select
    customer_id, 'all' as channel, period, sum(orders) as orders, count(distinct case when orders > 0 then day end) as days,
    sum(paid_orders) as paid_orders, sum(sales) as sales, sum(returned) as returned
from spread
group by customer_id, period
