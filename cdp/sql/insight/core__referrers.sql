-- Grain: customer × channel × period in which they referred a friend.
with referred as (
    select
        c.customer_id, i.source as channel, cast(i.occurred_at at time zone t.timezone as date) as day, t.year_from, t.as_of_day
    from core__interactions as i
    join core__record_customers as c on c.record_id = i.record_id
    cross join core__insight_terms as t
    where i.kind = 'Friend Referred' and i.occurred_at <= t.as_of
)

select distinct r.customer_id, r.channel, m.month as period
from referred as r
join core__insight_months as m on m.month = substring(cast(r.day as varchar), 1, 7)
union
select distinct customer_id, channel, 'year' as period from referred where day >= year_from
