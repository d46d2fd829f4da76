-- Grain: contact record with a full name → payload, a distinct set of comparable values: records of one payload are
-- scored once; a payload's number (node) is a hash of its values. 1 January stands for an unknown day; a contact point
-- under too many names says nothing. A record with only a dummy identifier is left out.
-- Changes are told by: record_id, payload_id
with generic as (
    select g.type, g.value
    from core__identifier_groups as g
    join core__identifier_limits as l on l.type = g.type
    where g.names > l.names
),

plain as (
    select
        r.record_id, w.first, w.root, w.family, w.words, w.rest,
        cast(r.birth_date as varchar) as birth_date,
        case when month(r.birth_date) = 1 and day(r.birth_date) = 1 then null else cast(r.birth_date as varchar) end as birth_full,
        substr(cast(r.birth_date as varchar), 1, 4) as birth_year,
        e.email, nullif(split_part(e.email, '@', 1), '') as email_user, p.phone,
        lower(r.postal_code) as postal_code,
        case
            when regexp_matches(lower(r.postal_code), '^[a-z]{1,2}[0-9][a-z0-9]?[0-9][a-z]{2}$')
                then substr(r.postal_code, 1, length(r.postal_code) - 3)
            else substr(r.postal_code, 1, 3)
        end as district_code,
        k.city, r.given_key, r.family_key
    from core__contact_records as r
    left join (
        select distinct email from core__contact_records
        where email is not null and email not in (select value from generic where type = 'email')
    ) as e on e.email = r.email
    left join (
        select distinct phone from core__contact_records
        where phone is not null and phone not in (select value from generic where type = 'phone')
    ) as p on p.phone = r.phone
    join core__name_words as w on w.given_key = r.given_key and w.family_key = r.family_key
    left join core__city_keys as k on k.raw = r.city
    where r.is_full_name
        and r.record_id not in (
            select record_id from core__record_identifiers group by record_id having bool_and(blocked)
        )
),

hashed as (
    select *,
        md5(concat(
            coalesce(given_key, ''), '|', coalesce(family_key, ''), '|', coalesce(birth_date, ''), '|', coalesce(email, ''), '|',
            coalesce(phone, ''), '|', coalesce(postal_code, ''), '|', coalesce(city, '')
        )) as payload_id
    from plain
)

select
    record_id, payload_id, cast('0x' || substr(payload_id, 1, 15) as bigint) as node,
    first, root, family, words, rest, birth_date, birth_full, birth_year, email, email_user,
    case
        when not regexp_matches(email_user, '[0-9].*[0-9]') and regexp_replace(email_user, '[^a-z]', '', 'g') in (
            concat(first, family), concat(family, first), concat(substr(first, 1, 1), family),
            concat(family, substr(first, 1, 1)), concat(first, substr(family, 1, 1)), first, family
        ) then null
        else email_user
    end as email_local,
    phone, postal_code,
    lower(district_code) as district, city, given_key
from hashed
