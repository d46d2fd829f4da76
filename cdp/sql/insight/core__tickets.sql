-- Grain: ticket. When it was opened and closed, the promise to this customer's tier (service.yaml), and whether it was kept; open
-- tickets past their deadline broke it, open ones before it are not counted yet
-- (null), and neither is what was closed at a time that nobody noted, or where nothing is promised.
with said as (
    select
        i.interaction_id, i.record_id, i.source, i.occurred_at,
        lower(coalesce(json_extract_string(i.details, '$.status'), 'open')) as status,
        try_cast(json_extract_string(i.details, '$.updated_at') as timestamptz) as updated_at,
        json_extract_string(i.details, '$.via') as via
    from core__interactions as i
    where i.kind = 'ticket'
),

placed as (
    select
        s.*, c.customer_id, coalesce(r.level, 'default') as tier,
        case when p.name is not null then s.updated_at end as closed_at, p.name is not null as is_closed
    from said as s
    left join core__record_customers as c on c.record_id = s.record_id
    left join core__customer_tiers as r on r.customer_id = c.customer_id
    left join core__service_terms as p on p.kind = 'closed' and p.name = s.status
)

select
    p.interaction_id, p.record_id, p.customer_id, p.source as channel, p.via, p.tier, p.occurred_at as opened_at, p.closed_at, coalesce(d.hours, e.hours) as promised_hours,
    case when p.closed_at is not null or not p.is_closed then date_diff('second', p.occurred_at, coalesce(p.closed_at, t.as_of)) / 3600.0 end as hours,
    case
        when coalesce(d.hours, e.hours) is null or (p.is_closed and p.closed_at is null) then null
        when date_diff('second', p.occurred_at, coalesce(p.closed_at, t.as_of)) / 3600.0 > coalesce(d.hours, e.hours) then false
        when p.closed_at is not null then true
    end as is_on_time
from placed as p
cross join core__insight_terms as t
left join core__service_terms as d on d.kind = 'deadline' and d.name = p.tier
left join core__service_terms as e on e.kind = 'deadline' and e.name = 'default'
where p.occurred_at <= t.as_of
