-- Grain: touch × the touch after it, over the year. How often customers went from one to the next, what share of all that followed, and
-- how many hours it took on average. `start` is before the first touch, `silence` when nothing followed within the horizon.
with ordered as (
    select
        p.customer_id, p.touch, p.touched_at, p.nth,
        lead(p.touch) over (partition by p.customer_id order by p.nth) as next_touch,
        lead(p.touched_at) over (partition by p.customer_id order by p.nth) as next_at
    from core__touchpoints as p
),

moved as (
    select
        o.customer_id, o.touch,
        case
            when date_diff('second', o.touched_at, coalesce(o.next_at, t.as_of)) > 86400 * h.days then 'silence'
            else o.next_touch
        end as next_touch,
        case when date_diff('second', o.touched_at, coalesce(o.next_at, t.as_of)) <= 86400 * h.days then date_diff('second', o.touched_at, o.next_at) / 3600.0 end as hours
    from ordered as o
    cross join core__insight_terms as t
    cross join core__purchase_horizon as h
    where cast(o.touched_at at time zone t.timezone as date) >= t.year_from
    union all
    select o.customer_id, 'start' as touch, o.touch as next_touch, null as hours
    from ordered as o
    cross join core__insight_terms as t
    where o.nth = 1 and cast(o.touched_at at time zone t.timezone as date) >= t.year_from
),

counted as (
    select touch, next_touch, count(*) as moves, count(distinct customer_id) as customers, avg(hours) as hours
    from moved
    where next_touch is not null
    group by touch, next_touch
)

select touch, next_touch, moves, customers, hours, cast(moves as double) / sum(moves) over (partition by touch) as share
from counted
