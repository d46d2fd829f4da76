-- Grain: payload, under the first of its records, as live resolution and explanations read it: the values that are
-- compared, and the blocking keys that few enough payloads share.
with rare as (
    select k.node, k.key
    from core__blocking_keys as k
    join core__key_limits as l on l.rule = k.rule
    qualify count(*) over (partition by k.key) <= l.most
),

listed as (
    select node, list(key order by key) as keys from rare group by node
),

firsts as (
    select node, min(record_id) as record_id, count(*) as records
    from core__payloads
    group by node
)

select
    f.record_id,
    cast(to_json({
        'given_key': p.given_key, 'first': p.first, 'root': p.root, 'family': p.family, 'words': p.words, 'rest': p.rest,
        'birth_date': p.birth_date, 'birth_full': p.birth_full, 'birth_year': p.birth_year, 'email': p.email,
        'email_user': p.email_user, 'email_local': p.email_local, 'phone': p.phone, 'postal_code': p.postal_code,
        'district': p.district, 'city': p.city, 'records': f.records
    }) as varchar) as compared,
    coalesce(k.keys, []) as keys
from firsts as f
join core__payloads as p on p.record_id = f.record_id
left join listed as k on k.node = f.node
