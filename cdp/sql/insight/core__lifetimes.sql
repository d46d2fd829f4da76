-- Grain: channel of the first order × days × whether it ended. How long customers kept buying: from the first purchase to the last, ended
-- for those silent for longer than the horizon, still going on for the others. Counts, so that a curve is drawn of few rows.
with firsts as (
    select customer_id, channel, row_number() over (partition by customer_id order by first_day, channel) as nth
    from core__customer_purchases
    where channel <> 'all'
)

select
    f.channel, date_diff('day', a.first_day, a.last_day) as days, a.recency_days > h.days as has_ended, count(*) as customers
from firsts as f
join core__customer_purchases as a on a.customer_id = f.customer_id and a.channel = 'all'
cross join core__purchase_horizon as h
where f.nth = 1
group by f.channel, date_diff('day', a.first_day, a.last_day), a.recency_days > h.days
