-- Grain: touch, over the year. What follows it: the share after which a ticket was opened within a week, and after which nothing was
-- bought within the horizon (of touches that lie a horizon back). High is painful.
with touched as (
    select p.customer_id, p.touch, p.kind, p.touched_at, p.nth, t.as_of, h.days as horizon
    from core__touchpoints as p
    cross join core__insight_terms as t
    cross join core__purchase_horizon as h
    where cast(p.touched_at at time zone t.timezone as date) >= t.year_from
),

later as (
    select
        customer_id, touch, kind, touched_at, as_of, horizon,
        min(case when kind = 'ticket' then touched_at end) over next as ticket_at,
        min(case when kind = 'order' then touched_at end) over next as order_at
    from touched
    window next as (partition by customer_id order by nth rows between 1 following and unbounded following)
)

select
    touch, count(*) as touches, count(distinct customer_id) as customers,
    cast(sum(case when date_diff('second', touched_at, ticket_at) <= 604800 then 1 else 0 end) as double) / count(*) as ticket_share,
    cast(sum(case when date_diff('second', touched_at, as_of) >= 86400 * horizon and coalesce(date_diff('second', touched_at, order_at), 86400 * horizon + 1) > 86400 * horizon then 1 else 0 end) as double)
    / nullif(sum(case when date_diff('second', touched_at, as_of) >= 86400 * horizon then 1 else 0 end), 0) as silence_share
from later
group by touch
