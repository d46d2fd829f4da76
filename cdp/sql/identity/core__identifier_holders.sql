-- Grain: identifier value × contact record that holds it. E-mails and phones as given; browsers through logins and guest
-- orders; cards through enrolments; orders through tickets and returns that name them. Records whose
-- every identifier is a dummy hold nothing.
-- Changes are told by: record_id, value
with held as (
    select type, value, record_id, type as evidence
    from core__record_identifiers
    where not blocked and type in ('email', 'phone', 'wechat_openid', 'wechat_unionid')
    union all
    select case when l.type = 'card_enrolled' then 'card' else 'browser' end as type, l.right_id as value,
        l.left_id as record_id, l.type as evidence
    from core__record_links as l
    union all
    select distinct case when l.type = 'card_enrolled' then 'card' else 'browser' end as type, l.right_id as value,
        l.right_id as record_id, 'itself' as evidence
    from core__record_links as l
    union all
    select 'order' as type, s.order_id as value, r.record_id, 'order_reference' as evidence
    from core__orders as r join core__orders as s on s.order_id = r.original_order_id
    where r.record_id is not null and s.record_id is not null
    union all
    select 'order' as type, i.order_id as value, i.record_id, 'order_reference' as evidence
    from core__interactions as i
    where i.order_id is not null and i.order_record_id is not null
    union all
    select 'order' as type, s.order_id as value, s.record_id, 'itself' as evidence
    from core__orders as s
    where s.record_id is not null
        and (
            s.order_id in (select original_order_id from core__orders where original_order_id is not null)
            or s.order_id in (select order_id from core__interactions where order_id is not null)
        )
),

blocked_records as (
    select record_id
    from core__record_identifiers
    group by record_id
    having bool_or(blocked and type in ('account', 'card', 'browser', 'device')) or bool_and(blocked)
)

select h.type, h.value, h.record_id, r.given_key, r.full_key, r.identifier, min(h.evidence) as evidence
from held as h
join core__contact_records as r on r.record_id = h.record_id
where h.record_id not in (select record_id from blocked_records)
    and h.value not in (select record_id from blocked_records)
group by h.type, h.value, h.record_id, r.given_key, r.full_key, r.identifier
