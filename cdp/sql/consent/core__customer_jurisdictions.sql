-- Grain: customer. The jurisdiction whose consent rules hold: the strictest of the countries its records name, else the default.
with named as (
    select m.customer_id, j.jurisdiction, j.strictness
    from core__record_customers as m
    join core__contact_records as r on r.record_id = m.record_id
    join core__jurisdiction_countries as j on j.country = r.country
    union all
    select m.customer_id, j.jurisdiction, j.strictness
    from core__record_customers as m
    cross join (select jurisdiction, strictness from core__jurisdiction_countries where country is null) as j
),

ranked as (
    select customer_id, jurisdiction, row_number() over (partition by customer_id order by strictness, jurisdiction) as place
    from named
)

select customer_id, jurisdiction from ranked where place = 1
