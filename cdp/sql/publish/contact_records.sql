-- Grain: contact record, as served.
select
    r.record_id, r.source, r.kind, r.source_key, r.first_seen, r.last_seen, c.link_weight,
    cast(to_json({
        'given_name': r.given_name, 'family_name': r.family_name, 'full_name': r.full_name, 'birth_date': r.birth_date,
        'email': r.email, 'phone': r.phone, 'postal_code': r.postal_code, 'city': r.city, 'country': r.country,
        'language': r.language, 'identifier': r.identifier, 'is_full_name': r.is_full_name, 'given_key': r.given_key,
        'family_key': r.family_key, 'full_key': r.full_key
    }) as varchar) as fields
from core__contact_records as r
join core__clusters as c on c.record_id = r.record_id
