-- Grain: customer. The jurisdiction whose consent rules hold: the strictest of the countries its records name; a country that no
-- jurisdiction names, or none at all, counts as the default. A weakly linked record may make it stricter, never looser.
with fallback as (
    select jurisdiction, strictness from core__jurisdiction_countries where country is null
),

weak as (
    select max(weak_link_weight) as weight from core__consent_rules
),

located as (
    select
        m.customer_id, coalesce(j.jurisdiction, f.jurisdiction) as jurisdiction, coalesce(j.strictness, f.strictness) as strictness,
        coalesce(c.link_weight, 0) >= w.weight as is_strong
    from core__record_customers as m
    join core__contact_records as r on r.record_id = m.record_id
    cross join fallback as f
    cross join weak as w
    left join core__clusters as c on c.record_id = m.record_id
    left join core__jurisdiction_countries as j on j.country = r.country
    where r.country is not null
),

unlocated as (
    select customer_id from core__record_customers
    except
    select customer_id from located where is_strong
),

named as (
    select customer_id, jurisdiction, strictness from located
    union all
    select u.customer_id, f.jurisdiction, f.strictness from unlocated as u cross join fallback as f
),

ranked as (
    select customer_id, jurisdiction, row_number() over (partition by customer_id order by strictness, jurisdiction) as place
    from named
)

select customer_id, jurisdiction from ranked where place = 1
