-- Grain: customer. The golden record: of every field the value that survives, with the record it came from. Accounts speak
-- before cards, cards before orders, tickets and receipts; among equals the newest speaks. Known = holds an account,
-- card, e-mail, phone or full name.
with members as (
    select
        c.customer_id, r.*,
        case
            when r.source = 'console' then 0 when r.identifier = 'account' then 1 when r.identifier = 'card' then 2
            when r.is_full_name then 3 else 4
        end as trust
    from core__contact_records as r
    join core__record_customers as c on c.record_id = r.record_id
),

survived as (
    select
        customer_id,
        first_value(given_name ignore nulls) over by_name as given_name,
        first_value(family_name ignore nulls) over by_name as family_name,
        first_value(full_name ignore nulls) over by_name as full_name,
        first_value(case when full_name is not null then record_id end ignore nulls) over by_name as name_record_id,
        first_value(birth_date ignore nulls) over by_date as birth_date,
        first_value(case when birth_date is not null then record_id end ignore nulls) over by_date as birth_date_record_id,
        first_value(email ignore nulls) over newest as email,
        first_value(case when email is not null then record_id end ignore nulls) over newest as email_record_id,
        first_value(phone ignore nulls) over newest as phone,
        first_value(case when phone is not null then record_id end ignore nulls) over newest as phone_record_id,
        first_value(postal_code ignore nulls) over newest as postal_code,
        first_value(case when postal_code is not null then record_id end ignore nulls) over newest as postal_code_record_id,
        first_value(city ignore nulls) over newest as city,
        first_value(case when city is not null then record_id end ignore nulls) over newest as city_record_id,
        first_value(country ignore nulls) over newest as country,
        first_value(case when country is not null then record_id end ignore nulls) over newest as country_record_id,
        first_value(language ignore nulls) over newest as language,
        first_value(case when language is not null then record_id end ignore nulls) over newest as language_record_id,
        min(first_seen) over whole as first_seen,
        max(last_seen) over whole as last_seen,
        count(*) over whole as records,
        row_number() over (partition by customer_id order by record_id) as nth
    from members
    window
        whole as (partition by customer_id),
        newest as (
            partition by customer_id order by trust, last_seen desc, record_id
            rows between unbounded preceding and unbounded following
        ),
        by_name as (
            partition by customer_id order by is_full_name desc, trust, last_seen desc, record_id
            rows between unbounded preceding and unbounded following
        ),
        by_date as (
            partition by customer_id
            order by case when month(birth_date) = 1 and day(birth_date) = 1 then 1 else 0 end, trust, last_seen desc, record_id
            rows between unbounded preceding and unbounded following
        )
),

known as (
    select distinct c.customer_id
    from core__record_identifiers as i
    join core__record_customers as c on c.record_id = i.record_id
    where not i.blocked and i.type in ('account', 'card', 'email', 'phone')
    union
    select customer_id from members where is_full_name
),

channels as (
    select customer_id, string_agg(source, ',' order by source) as channels
    from (select distinct customer_id, source from members) as seen
    group by customer_id
)

select
    s.customer_id,
    case when k.customer_id is not null then 'known' else 'anonymous' end as kind,
    s.given_name, s.family_name, s.full_name, s.name_record_id,
    s.birth_date, s.birth_date_record_id, s.email, s.email_record_id, s.phone, s.phone_record_id,
    s.postal_code, s.postal_code_record_id, s.city, s.city_record_id, s.country, s.country_record_id,
    s.language, s.language_record_id,
    s.first_seen, s.last_seen, s.records, n.channels
from survived as s
join channels as n on n.customer_id = s.customer_id
left join known as k on k.customer_id = s.customer_id
where s.nth = 1
