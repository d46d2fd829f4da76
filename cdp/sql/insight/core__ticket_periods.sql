-- Grain: ticket × channel (its way in, and `all`) × period in which it was opened; open
-- tickets whose promise is not due yet are left out.
with due as (
    select
        k.interaction_id, coalesce(k.via, k.channel) as channel, k.hours, k.closed_at, k.is_on_time,
        cast(k.opened_at at time zone t.timezone as date) as day, t.year_from
    from core__tickets as k
    cross join core__insight_terms as t
    where k.is_on_time is not null or k.closed_at is not null
),

dated as (
    select d.interaction_id, d.channel, d.hours, d.closed_at, d.is_on_time, m.month as period
    from due as d
    join core__insight_months as m on m.month = substring(cast(d.day as varchar), 1, 7)
    union all
    select interaction_id, channel, hours, closed_at, is_on_time, 'year' as period from due where day >= year_from
)

select interaction_id, channel, hours, closed_at, is_on_time, period from dated
union all
select interaction_id, 'all' as channel, hours, closed_at, is_on_time, period from dated
