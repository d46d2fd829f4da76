-- Grain: customer × purpose × contact point. Effective consent with the deciding decision: the twin of
-- `cdp.consent.resolve.effective`. Silence that allows nothing is not stored: no row means never asked, not allowed.
-- Purposes that need no asking (contract and the like) are not stored: they are allowed.
with held as (
    select distinct m.customer_id, i.record_id, i.type, i.value
    from core__record_identifiers as i
    join core__record_customers as m on m.record_id = i.record_id
    where i.type in ('email', 'phone') and not i.blocked
),

points as (
    select distinct customer_id, type, value from held
),

-- What is heard of a customer: its records' decisions, and those of other customers' records on a point it holds.
heard as (
    select m.customer_id, d.decision_id, true as is_own
    from core__consent_decisions as d
    join core__record_customers as m on m.record_id = d.record_id
    union all
    select p.customer_id, d.decision_id, false as is_own
    from core__consent_decisions as d
    join points as p on p.type = d.subject_type and p.value = d.subject
    left join core__record_customers as m on m.record_id = d.record_id
    where m.customer_id is null or m.customer_id <> p.customer_id
),

voices as (
    select
        h.customer_id, d.decision_id, d.record_id, d.subject_type, d.subject, d.purpose, d.basis, r.point,
        coalesce(d.captured_at, d.received_at) as at_, d.status in ('denied', 'withdrawn', 'expired') as denies,
        h.is_own and coalesce(c.link_weight < r.weak_link_weight, false) as is_weak,
        case when d.status = 'granted' and (d.captured_at is null or not d.is_explicit) then 0
            when d.is_explicit then 2 else 1 end as level,
        case
            when d.status = 'pending' then 'pending'
            when d.status <> 'granted' then ''
            when not contains(r.bases, ',' || d.basis || ',') then 'basis_not_recognised'
            when r.double_opt_in and (d.confirmed_at is null or d.confirmed_at > $now) then 'double_opt_in_pending'
            when r.separate_consent is not null and coalesce(d.separate_consent, '') <> r.separate_consent
                then 'separate_consent_missing'
            else ''
        end as lacks,
        case
            when d.status <> 'granted' then d.status
            when d.expires_at <= $now then 'expired'
            when coalesce(d.captured_at, d.received_at) + r.grant_lasts_days * interval '1' day <= $now then 'expired'
            else 'granted'
        end as said
    from heard as h
    join core__consent_decisions as d on d.decision_id = h.decision_id
    join core__customer_jurisdictions as j on j.customer_id = h.customer_id
    join core__consent_rules as r on r.jurisdiction = j.jurisdiction and r.purpose = d.purpose
    left join core__clusters as c on c.record_id = d.record_id
    where d.status <> 'unknown' and coalesce(d.captured_at, d.received_at) <= $now
),

-- A denial on the record reaches every point of the customer, anything else on it the record's own.
reaching as (
    select v.customer_id, v.decision_id, '' as contact_point from voices as v where v.point is null
    union all
    select v.customer_id, v.decision_id, v.subject from voices as v where v.point = v.subject_type
    union all
    select v.customer_id, v.decision_id, p.value
    from voices as v
    join points as p on p.customer_id = v.customer_id and p.type = v.point
    where v.subject_type = 'record' and v.denies
    union all
    select v.customer_id, v.decision_id, h.value
    from voices as v
    join held as h on h.record_id = v.record_id and h.type = v.point
    where v.subject_type = 'record' and not v.denies
),

spoken as (
    select v.*, g.contact_point, case when v.lacks = '' then v.said else 'pending' end as voice
    from reaching as g
    join voices as v on v.customer_id = g.customer_id and v.decision_id = g.decision_id
    left join points as p on p.customer_id = g.customer_id and p.value = g.contact_point
    where v.point is null or p.value is not null
),

latest as (
    select *, voice in ('denied', 'withdrawn', 'expired') as restricts
    from spoken
    where voice <> 'pending'
    qualify row_number() over (
        partition by customer_id, purpose, contact_point, record_id
        order by level desc, at_ desc, voice in ('denied', 'withdrawn', 'expired') desc, decision_id desc
    ) = 1
),

-- A weak link carries denials, never grants: what its record last granted only takes back what it denied before.
standing as (
    select * from latest where not is_weak or denies
),

winners as (
    select * from standing
    qualify row_number() over (
        partition by customer_id, purpose, contact_point
        order by point is null and restricts desc, level desc, at_ desc, restricts desc, decision_id desc
    ) = 1
),

against as (
    select s.customer_id, s.purpose, s.contact_point, string_agg(s.decision_id, ',' order by s.decision_id) as conflicting
    from standing as s
    join winners as w on w.customer_id = s.customer_id and w.purpose = s.purpose and w.contact_point = s.contact_point
    where (s.voice = 'granted') <> (w.voice = 'granted')
    group by s.customer_id, s.purpose, s.contact_point
),

pending as (
    select * from spoken
    where voice = 'pending' and not is_weak
    qualify row_number() over (
        partition by customer_id, purpose, contact_point order by level desc, at_ desc, decision_id desc
    ) = 1
),

unasked as (
    select j.customer_id, r.purpose, coalesce(p.value, '') as contact_point, r.unasked
    from core__customer_jurisdictions as j
    join core__consent_rules as r on r.jurisdiction = j.jurisdiction
    left join points as p on p.customer_id = j.customer_id and p.type = r.point
    where r.unasked is not null and (r.point is null or p.value is not null)
),

subjects as (
    select customer_id, purpose, contact_point from winners
    union
    select customer_id, purpose, contact_point from pending
    union
    select customer_id, purpose, contact_point from unasked
),

answers as (
    select
        s.customer_id, s.purpose, s.contact_point,
        case when w.decision_id is not null then w.voice = 'granted' else u.unasked is not null end as allowed,
        case when w.decision_id is not null then w.voice when u.unasked is not null then 'unknown' else 'pending' end as status,
        case when w.voice = 'granted' then w.basis when w.decision_id is not null then 'none'
            else coalesce(u.unasked, 'none') end as basis,
        case when w.decision_id is not null then w.voice || '_by_' || w.subject_type
            when u.unasked is not null then 'unasked_' || u.unasked else q.lacks end as reason,
        case when w.decision_id is not null then w.decision_id when u.unasked is null then q.decision_id end as decided_by,
        coalesce(a.conflicting, '') as conflicting
    from subjects as s
    left join winners as w
        on w.customer_id = s.customer_id and w.purpose = s.purpose and w.contact_point = s.contact_point
    left join pending as q
        on q.customer_id = s.customer_id and q.purpose = s.purpose and q.contact_point = s.contact_point
    left join unasked as u
        on u.customer_id = s.customer_id and u.purpose = s.purpose and u.contact_point = s.contact_point
    left join against as a
        on a.customer_id = s.customer_id and a.purpose = s.purpose and a.contact_point = s.contact_point
),

gates as (
    select w.customer_id, w.decision_id
    from winners as w
    join core__customer_jurisdictions as j on j.customer_id = w.customer_id
    join core__consent_rules as r on r.jurisdiction = j.jurisdiction and r.purpose = w.purpose
    where r.is_restriction and w.restricts
)

select
    a.customer_id, a.purpose, nullif(a.contact_point, '') as contact_point,
    a.allowed and g.decision_id is null as allowed, a.status,
    case when g.decision_id is null then a.basis else 'none' end as basis,
    case when g.decision_id is null then a.reason else 'restricted' end as reason,
    coalesce(g.decision_id, a.decided_by) as decided_by,
    a.conflicting <> '' as conflict, a.conflicting, j.jurisdiction
from answers as a
join core__customer_jurisdictions as j on j.customer_id = a.customer_id
join core__consent_rules as r on r.jurisdiction = j.jurisdiction and r.purpose = a.purpose
left join gates as g on g.customer_id = a.customer_id and not r.is_restriction
where g.decision_id is null or a.status <> 'unknown'
