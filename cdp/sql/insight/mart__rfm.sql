-- Grain: customer × channel, and `all`; whoever bought within the window. Quintiles of recency (days since the last purchase),
-- frequency (days with a purchase) and monetary value (sales less returns): 5 is best. Ties go by customer id, so that a run
-- over the same data gives the same scores.
with scored as (
    select
        customer_id, channel, recency_days, days_rfm as frequency, net_rfm as monetary,
        ntile(5) over (partition by channel order by recency_days desc, customer_id) as r,
        ntile(5) over (partition by channel order by days_rfm, customer_id) as f,
        ntile(5) over (partition by channel order by net_rfm, customer_id) as m
    from core__customer_purchases
    where days_rfm > 0
)

select
    customer_id, channel, recency_days, frequency, monetary, r, f, m, r * 100 + f * 10 + m as rfm
from scored
