-- Grain: contact record with a full name → payload, a distinct set of comparable values. 1 January is a placeholder,
-- not a birth date; records of one payload are scored once; a record with only a
-- dummy identifier is left out.
select
    record_id,
    md5(concat_ws('|', given_key, family_key, coalesce(cast(birth_date as varchar), ''), coalesce(email, ''),
        coalesce(phone, ''), coalesce(postal_code, ''))) as payload_id,
    given_key, family_key,
    case when month(birth_date) = 1 and day(birth_date) = 1 then null else cast(birth_date as varchar) end as birth_date,
    email, nullif(split_part(email, '@', 1), '') as email_local, phone, postal_code, city
from core__contact_records
where is_full_name and given_key is not null and family_key is not null
    and record_id not in (
        select record_id from core__record_identifiers group by record_id having bool_and(blocked)
    )
