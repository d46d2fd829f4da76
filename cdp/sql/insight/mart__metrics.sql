-- Grain: metric × channel (and `all`) × period (`year`, the 365 days up to the run, and the months of the last year). Every value is its
-- numerator over its denominator (null over none); docs/insight.md states each. Whoever bought is a customer with an order.
with periods as (
    select 'year' as period, 'year_before' as previous
    union all
    select m.month as period, b.month as previous
    from core__insight_months as m
    join core__insight_months as b on b.number = m.number - 1
),

bought as (
    select
        channel, period, cast(count(*) as double) as customers, cast(sum(orders) as double) as orders, cast(sum(paid_orders) as double) as paid_orders, cast(sum(sales) as double) as sales,
        cast(sum(case when days > 1 then 1 else 0 end) as double) as again
    from core__customer_periods
    where orders > 0
    group by channel, period
),

money as (
    select channel, period, cast(sum(sales + returned) as double) as net, cast(sum(-returned) as double) as returned
    from core__customer_periods
    group by channel, period
),

kept as (
    select
        b.channel, p.period, cast(count(*) as double) as before, cast(sum(case when a.orders > 0 then 1 else 0 end) as double) as kept
    from core__customer_periods as b
    join periods as p on p.previous = b.period
    left join core__customer_periods as a on a.customer_id = b.customer_id and a.channel = b.channel and a.period = p.period
    where b.orders > 0
    group by b.channel, p.period
),

referred as (
    select c.channel, c.period, cast(count(distinct c.customer_id) as double) as customers
    from (
        select customer_id, channel, period from core__referrers
        union all
        select customer_id, 'all' as channel, period from core__referrers
    ) as c
    group by c.channel, c.period
),

served as (
    select channel, period, cast(count(is_on_time) as double) as tickets, cast(sum(case when is_on_time then 1 else 0 end) as double) as on_time,
        cast(sum(case when closed_at is not null then hours else 0 end) as double) as hours, cast(count(closed_at) as double) as closed
    from core__ticket_periods
    group by channel, period
),

found as (
    select 'active_customers' as metric, channel, period, customers as numerator, cast(null as double) as denominator from bought
    union all
    select 'orders' as metric, channel, period, orders, cast(null as double) from bought
    union all
    select 'net_revenue' as metric, channel, period, net, cast(null as double) from money
    union all
    select 'purchase_frequency' as metric, channel, period, orders, customers from bought
    union all
    select 'repurchase_rate' as metric, channel, period, again, customers from bought
    union all
    select 'average_order_value' as metric, channel, period, sales, paid_orders from bought
    union all
    select 'return_rate' as metric, m.channel, m.period, m.returned, b.sales from money as m join bought as b on b.channel = m.channel and b.period = m.period
    union all
    select 'retention_rate' as metric, channel, period, kept, before from kept
    union all
    select 'churn_rate' as metric, channel, period, before - kept, before from kept
    union all
    select 'referral_rate' as metric, b.channel, b.period, coalesce(r.customers, 0), b.customers
    from bought as b
    left join referred as r on r.channel = b.channel and r.period = b.period
    union all
    select 'answered_on_time' as metric, channel, period, on_time, tickets from served
    union all
    select 'hours_to_close' as metric, channel, period, hours, closed from served
)

select f.metric, f.channel, f.period, case when f.denominator is null then f.numerator else f.numerator / nullif(f.denominator, 0) end as value, f.numerator, f.denominator
from found as f
join periods as p on p.period = f.period
