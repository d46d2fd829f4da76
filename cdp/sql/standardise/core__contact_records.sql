-- Grain: contact record, one party as one source knows it. Of each field the newest value it was given; a full
-- name goes before a surname alone.
-- Changes are told by: record_id
with ranked as (
    select
        record_id, source, kind, source_key, identifier,
        min(first_seen) over whole as first_seen,
        max(last_seen) over whole as last_seen,
        first_value(given_name ignore nulls) over by_name as given_name,
        first_value(family_name ignore nulls) over by_name as family_name,
        first_value(full_name ignore nulls) over by_name as full_name,
        first_value(given_key ignore nulls) over by_name as given_key,
        first_value(family_key ignore nulls) over by_name as family_key,
        first_value(full_key ignore nulls) over by_name as full_key,
        max(cast(is_full_name as integer)) over whole = 1 as is_full_name,
        first_value(birth_date ignore nulls) over newest as birth_date,
        first_value(email ignore nulls) over newest as email,
        first_value(phone ignore nulls) over newest as phone,
        first_value(postal_code ignore nulls) over newest as postal_code,
        first_value(city ignore nulls) over newest as city,
        first_value(country ignore nulls) over newest as country,
        first_value(language ignore nulls) over newest as language,
        row_number() over (partition by record_id order by last_seen desc, full_key, email, phone, identifier) as nth
    from core__record_names
    window
        whole as (partition by record_id),
        newest as (
            partition by record_id order by last_seen desc, email, phone, postal_code, birth_date
            rows between unbounded preceding and unbounded following
        ),
        by_name as (
            partition by record_id order by is_full_name desc, last_seen desc, full_key, full_name
            rows between unbounded preceding and unbounded following
        )
)

select
    record_id, source, kind, source_key, identifier, first_seen, last_seen,
    given_name, family_name, full_name, given_key, family_key, full_key, is_full_name,
    birth_date, email, phone, postal_code, city, country, language
from ranked
where nth = 1
