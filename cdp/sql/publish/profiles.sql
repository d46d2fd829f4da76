-- Grain: customer, as served: every value with the record it came from.
with spending as (
    select customer_id,
        '{' || string_agg('"' || currency || '": {"orders": ' || orders || ', "returns": ' || returns
            || ', "spent": "' || spent || '"}', ', ' order by currency) || '}' as orders
    from core__customer_orders
    group by customer_id
)

select
    c.customer_id, c.kind,
    cast(to_json({
        'kind': c.kind,
        'name': {'given_name': c.given_name, 'family_name': c.family_name, 'full_name': c.full_name, 'record_id': c.name_record_id},
        'birth_date': {'value': c.birth_date, 'record_id': c.birth_date_record_id},
        'email': {'value': c.email, 'record_id': c.email_record_id},
        'phone': {'value': c.phone, 'record_id': c.phone_record_id},
        'postal_code': {'value': c.postal_code, 'record_id': c.postal_code_record_id},
        'city': {'value': c.city, 'record_id': c.city_record_id},
        'country': {'value': c.country, 'record_id': c.country_record_id},
        'language': {'value': c.language, 'record_id': c.language_record_id},
        'channels': string_split(c.channels, ','),
        'records': c.records,
        'first_seen': strftime(c.first_seen, '%Y-%m-%dT%H:%M:%S.%fZ'),
        'last_seen': strftime(c.last_seen, '%Y-%m-%dT%H:%M:%S.%fZ'),
        'orders': cast(coalesce(s.orders, '{}') as json)
    }) as varchar) as profile
from core__customers as c
left join spending as s on s.customer_id = c.customer_id
