-- Grain: contact record × identifier (type, value in standard form). Every identifier a record ever had stays, with
-- its dates; `blocked` marks values that identify nobody.
-- Changes are told by: record_id
with mentioned as (
    select m.record_id, 'email' as type, e.email as value, m.first_seen, m.last_seen
    from core__party_mentions as m join core__standard_emails as e on e.raw = m.email
    where e.email is not null
    union all
    select m.record_id, 'phone' as type, p.phone as value, m.first_seen, m.last_seen
    from core__party_mentions as m join core__standard_phones as p on p.raw = m.phone
    where p.phone is not null
    union all
    select record_id, identifier as type, source_key as value, first_seen, last_seen
    from core__party_mentions where identifier is not null
    union all
    select record_id, 'wechat_openid' as type, wechat_openid as value, first_seen, last_seen
    from core__party_mentions where wechat_openid is not null
    union all
    select record_id, 'wechat_unionid' as type, wechat_unionid as value, first_seen, last_seen
    from core__party_mentions where wechat_unionid is not null
),

known as (
    select record_id, type, value, min(first_seen) as first_seen, max(last_seen) as last_seen
    from mentioned
    group by record_id, type, value
),

-- a pattern out of a table is compiled for each value it is asked of: only values that any of them takes are asked
suspect_values as (
    select distinct type, value from known where regexp_matches(lower(value), $blocked)
),

blocked as (
    select distinct v.type, v.value
    from suspect_values as v
    join core__blocked_patterns as b on b.type in ('any', v.type) and regexp_matches(lower(v.value), b.pattern)
)

select k.record_id, k.type, k.value, k.first_seen, k.last_seen, b.value is not null as blocked
from known as k
left join blocked as b on b.type = k.type and b.value = k.value
