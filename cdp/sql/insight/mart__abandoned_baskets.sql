-- Grain: visit that reached the step `basket` and led to no order within a day, over the year. `last_step` is where it ended.
with basket as (
    select min(position) as position from core__insight_steps where step = 'basket'
),

filled as (
    select s.customer_id, s.channel, s.session, s.started_at, s.ended_at, s.position
    from core__sessions as s
    cross join basket as b
    cross join core__insight_terms as t
    where s.position >= b.position and s.orders = 0 and cast(s.started_at at time zone t.timezone as date) >= t.year_from
        and date_diff('second', s.ended_at, t.as_of) >= 86400
),

followed as (
    select distinct f.customer_id, f.channel, f.session
    from filled as f
    join core__record_customers as c on c.customer_id = f.customer_id
    join core__orders as o on o.record_id = c.record_id and o.kind = 'sale' and o.ordered_at >= f.started_at
        and date_diff('second', f.ended_at, o.ordered_at) <= 86400
),

named as (
    select position, min(step) as step from core__insight_steps group by position
)

select f.customer_id, f.channel, f.session, f.ended_at as abandoned_at, n.step as last_step
from filled as f
left join followed as o on o.customer_id = f.customer_id and o.channel = f.channel and o.session = f.session
left join named as n on n.position = f.position
where o.customer_id is null
