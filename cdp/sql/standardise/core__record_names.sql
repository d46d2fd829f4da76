-- Grain: contact record × set of field values it was given, standardised. The material of contact records,
-- survivorship and linking. E-mails and phones that identify nobody are left out.
select
    m.record_id, m.source, m.kind, m.source_key, m.identifier, m.first_seen, m.last_seen,
    n.given_name, n.family_name, n.full_name, n.given_key, n.family_key, n.full_key,
    coalesce(n.is_full_name, false) as is_full_name,
    try_cast(m.birth_date as date) as birth_date,
    case when be.value is null then e.email end as email,
    case when bp.value is null then p.phone end as phone,
    nullif(upper(regexp_replace(m.postal_code, '[^0-9A-Za-z]', '', 'g')), '') as postal_code,
    lower(m.city) as city, upper(m.country) as country, m.language
from core__party_mentions as m
left join core__standard_names as n
    on n.raw_given is not distinct from m.given_name
    and n.raw_family is not distinct from m.family_name
    and n.raw_full is not distinct from m.full_name
left join core__standard_emails as e on e.raw = m.email
left join core__standard_phones as p on p.raw = m.phone
left join core__record_identifiers as be on be.record_id = m.record_id and be.type = 'email' and be.value = e.email and be.blocked
left join core__record_identifiers as bp on bp.record_id = m.record_id and bp.type = 'phone' and bp.value = p.phone and bp.blocked
