-- Grain: customer that bought. Habits: the channel, the part of the day and of the week in which most of the orders fall (ties: the
-- first by name), and the share of spend on discounted lines.
with bought as (
    select
        c.customer_id, o.source as channel, o.ordered_at at time zone t.timezone as moment
    from core__orders as o
    join core__record_customers as c on c.record_id = o.record_id
    cross join core__insight_terms as t
    where o.kind = 'sale' and o.ordered_at <= t.as_of
),

counted as (
    select
        customer_id, channel,
        case when hour(moment) < 6 then 'night' when hour(moment) < 12 then 'morning' when hour(moment) < 18 then 'afternoon' else 'evening' end as part_of_day,
        case when date_diff('day', date '2001-01-01', cast(moment as date)) % 7 in (5, 6) then 1 else 0 end as is_weekend, count(*) as orders
    from bought
    group by all
),

by_channel as (
    select customer_id, channel, row_number() over (partition by customer_id order by sum(orders) desc, channel) as nth
    from counted
    group by customer_id, channel
),

by_part as (
    select customer_id, part_of_day, row_number() over (partition by customer_id order by sum(orders) desc, part_of_day) as nth
    from counted
    group by customer_id, part_of_day
),

weeks as (
    select customer_id, cast(sum(orders * is_weekend) as double) / sum(orders) as weekend_share, count(distinct channel) as channels
    from counted
    group by customer_id
)

select
    w.customer_id, c.channel as preferred_channel, p.part_of_day as preferred_time, w.weekend_share, w.channels,
    a.discounted_share
from weeks as w
join by_channel as c on c.customer_id = w.customer_id and c.nth = 1
join by_part as p on p.customer_id = w.customer_id and p.nth = 1
join core__customer_purchases as a on a.customer_id = w.customer_id and a.channel = 'all'
