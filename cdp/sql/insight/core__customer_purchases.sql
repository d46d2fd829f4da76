-- Grain: customer × channel, and `all` channels together; whoever ever bought. What was bought, when, and what stayed bought, in the
-- currency of reports: `net` is sales less returns. Days are days with a purchase, `paid_days` those in that currency. `year` and `rfm` are the windows of the terms.
with bought as (
    select
        p.customer_id, p.channel, p.day, p.orders, case when p.currency = t.currency then p.orders else 0 end as paid_orders,
        case when p.currency = t.currency then p.sales else 0 end as sales,
        case when p.currency = t.currency then p.returned else 0 end as returned,
        case when p.currency = t.currency then p.discounted else 0 end as discounted,
        t.as_of_day, t.year_from, t.rfm_from
    from core__purchase_days as p
    cross join core__insight_terms as t
),

days as (
    select
        customer_id, channel, day, sum(orders) as orders, sum(paid_orders) as paid_orders, sum(sales) as sales, sum(returned) as returned, sum(discounted) as discounted,
        min(as_of_day) as as_of_day, min(year_from) as year_from, min(rfm_from) as rfm_from
    from bought
    group by customer_id, channel, day
    union all
    select
        customer_id, 'all' as channel, day, sum(orders) as orders, sum(paid_orders) as paid_orders, sum(sales) as sales, sum(returned) as returned, sum(discounted) as discounted,
        min(as_of_day) as as_of_day, min(year_from) as year_from, min(rfm_from) as rfm_from
    from bought
    group by customer_id, day
),

summed as (
    select
        customer_id, channel,
        min(case when orders > 0 then day end) as first_day, max(case when orders > 0 then day end) as last_day,
        sum(case when orders > 0 then 1 else 0 end) as days, sum(case when paid_orders > 0 then 1 else 0 end) as paid_days, sum(orders) as orders,
        sum(sales) as sales, sum(returned) as returned, sum(sales + returned) as net, sum(discounted) as discounted,
        sum(case when orders > 0 and day >= year_from then 1 else 0 end) as days_year,
        sum(case when day >= year_from then orders else 0 end) as orders_year,
        sum(case when day >= year_from then sales + returned else 0 end) as net_year,
        sum(case when orders > 0 and day >= rfm_from then 1 else 0 end) as days_rfm,
        sum(case when day >= rfm_from then sales + returned else 0 end) as net_rfm,
        min(as_of_day) as as_of_day
    from days
    group by customer_id, channel
)

select
    customer_id, channel, first_day, last_day, days, paid_days, orders, sales, returned, net,
    cast(discounted as double) / nullif(cast(sales as double), 0) as discounted_share,
    days_year, orders_year, net_year, days_rfm, net_rfm,
    date_diff('day', last_day, as_of_day) as recency_days, date_diff('day', first_day, as_of_day) as age_days
from summed
where days > 0
