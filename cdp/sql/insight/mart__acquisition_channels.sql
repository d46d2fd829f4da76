-- Grain: channel of a customer's first order, and `all`. Who came, who bought again more than 90, 180 and 365 days after (of those who
-- came so long ago and a horizon more), what they are worth so far (sales less returns), with the standard error of the mean. Descriptive, not causal.
with firsts as (
    select
        customer_id, channel, first_day, last_day, row_number() over (partition by customer_id order by first_day, channel) as nth
    from core__customer_purchases
    where channel <> 'all'
),

people as (
    select f.customer_id, f.channel, a.age_days, date_diff('day', a.first_day, a.last_day) as stayed, cast(a.net as double) as net, h.days as horizon
    from firsts as f
    join core__customer_purchases as a on a.customer_id = f.customer_id and a.channel = 'all'
    cross join core__purchase_horizon as h
    where f.nth = 1
),

spread as (
    select channel, age_days, stayed, net, horizon from people
    union all
    select 'all' as channel, age_days, stayed, net, horizon from people
)

select
    channel, count(*) as customers,
    sum(case when age_days >= 90 + horizon then 1 else 0 end) as came_90, sum(case when age_days >= 90 + horizon and stayed >= 90 then 1 else 0 end) as stayed_90,
    sum(case when age_days >= 180 + horizon then 1 else 0 end) as came_180, sum(case when age_days >= 180 + horizon and stayed >= 180 then 1 else 0 end) as stayed_180,
    sum(case when age_days >= 365 + horizon then 1 else 0 end) as came_365, sum(case when age_days >= 365 + horizon and stayed >= 365 then 1 else 0 end) as stayed_365,
    avg(net) as net_per_customer, stddev_samp(net) / sqrt(count(*)) as net_error
from spread
group by channel
