-- Grain: touch on the way to an order, over the year. A journey is the touches (visits, tickets, reviews, shares) of a customer since
-- the order before, each within `touch_days` of the next; it ends `(bought)`, or `(lost)` when as long a silence follows. An order
-- without a touch before it is a touch of its own channel. Journeys that may still go on are left out.
with touches as (
    select
        p.customer_id, p.touched_at, p.channel, p.is_order, p.nth,
        lag(p.touched_at) over (partition by p.customer_id order by p.nth) as last_at,
        lag(p.is_order) over (partition by p.customer_id order by p.nth) as last_is_order
    from core__touchpoints as p
    where p.kind <> 'return'
),

numbered as (
    select
        s.customer_id, s.touched_at, s.channel, s.is_order, s.nth, t.touch_days, t.as_of, t.year_from, t.timezone,
        sum(case when s.last_at is null or s.last_is_order or date_diff('second', s.last_at, s.touched_at) > 86400 * t.touch_days then 1 else 0 end) over (
            partition by s.customer_id order by s.nth rows between unbounded preceding and current row
        ) as journey
    from touches as s
    cross join core__insight_terms as t
),

placed as (
    select
        customer_id, journey, channel, is_order, touch_days, as_of, year_from, timezone,
        row_number() over (partition by customer_id, journey order by nth) as position,
        count(*) over (partition by customer_id, journey) as touches,
        max(case when is_order then 1 else 0 end) over (partition by customer_id, journey) as orders,
        max(touched_at) over (partition by customer_id, journey) as ended_at,
        lead(channel) over (partition by customer_id, journey order by nth) as next_channel,
        lead(is_order) over (partition by customer_id, journey order by nth) as next_is_order
    from numbered
)

select
    customer_id, journey, position, channel, position = 1 as is_first, orders > 0 as has_bought,
    case when is_order or next_is_order then '(bought)' when next_channel is null then '(lost)' else next_channel end as next_channel
from placed
where (touches = 1 or not is_order) and cast(ended_at at time zone timezone as date) >= year_from
    and (orders > 0 or date_diff('second', ended_at, as_of) > 86400 * touch_days)
