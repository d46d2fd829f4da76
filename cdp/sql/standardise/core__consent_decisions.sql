-- Grain: consent decision. Its subject is the contact point it was given with (e-mail or phone, by the purpose's
-- channel), else the contact record. A point that is a dummy or no address at all takes no grant; a denial given with
-- it is one of the record's. Decisions recorded online are read back from the store.
with pointed as (
    select
        s.*,
        case when b.value is null then case when u.point = 'email' then e.email when u.point = 'phone' then p.phone end end
            as point_value,
        case when u.point = 'email' then s.email when u.point = 'phone' then s.phone end as given,
        u.point
    from core__consent_statements as s
    left join core__purposes as u on u.purpose = s.purpose
    left join core__standard_emails as e on e.raw = s.email
    left join core__standard_phones as p on p.raw = s.phone
    left join core__record_identifiers as b
        on b.record_id = s.record_id and b.type = u.point and b.blocked
        and b.value = case when u.point = 'email' then e.email when u.point = 'phone' then p.phone end
)

select
    md5(concat_ws('|', statement_key, coalesce(point_value, ''))) as decision_id,
    record_id,
    case when point_value is null then 'record' else point end as subject_type,
    coalesce(point_value, record_id) as subject,
    purpose, status, captured_at, received_at, source, method, notice_version, coalesce(basis, 'consent') as basis, jurisdiction,
    expires_at, confirmed_at, separate_consent, coalesce(is_explicit, true) as is_explicit, evidence, 'pipeline' as actor
from pointed
where not (status = 'granted' and given is not null and point_value is null)
union all
select
    decision_id, record_id, subject_type, subject, purpose, status, captured_at, received_at, source, method, notice_version, basis,
    jurisdiction, expires_at, confirmed_at, separate_consent, is_explicit, evidence, actor
from core__recorded_decisions
