-- Grain: possible cause. Customers with it before the cutoff that was measured, how many of them then bought nothing for a horizon, and how
-- many would have, had they done as those without it who had bought as often and as lately. `lift` is the ratio, `excess` the
-- difference. It ranks suspicions, and proves none.
with asked as (
    select f.*, coalesce(c.complaints, 0) as complaints, coalesce(c.price, 0) as price, coalesce(c.quality, 0) as quality, coalesce(c.delivery, 0) as delivery, coalesce(c.service, 0) as service,
        coalesce(c.personalisation, 0) as personalisation
    from core__churn_features as f
    left join core__complaints as c on c.customer_id = f.customer_id and c.cutoff = f.cutoff
    where f.role = 'holdout'
),

causes as (
    select 'late answer' as cause, customer_id, is_silent, late_tickets > 0 as has_it from asked
    union all
    select 'ticket' as cause, customer_id, is_silent, tickets > 0 as has_it from asked
    union all
    select 'return' as cause, customer_id, is_silent, returns_horizon > 0 as has_it from asked
    union all
    select 'bad answer' as cause, customer_id, is_silent, bad_answers > 0 as has_it from asked
    union all
    select 'bought on discount' as cause, customer_id, is_silent, discounted_share >= 0.5 as has_it from asked
    union all
    select 'price' as cause, customer_id, is_silent, price > 0 as has_it from asked
    union all
    select 'quality' as cause, customer_id, is_silent, quality > 0 as has_it from asked
    union all
    select 'delivery' as cause, customer_id, is_silent, delivery > 0 as has_it from asked
    union all
    select 'service' as cause, customer_id, is_silent, service > 0 as has_it from asked
    union all
    select 'personalisation' as cause, customer_id, is_silent, personalisation > 0 as has_it from asked
),

placed as (
    select c.cause, c.is_silent, c.has_it, a.stratum
    from causes as c
    join (
        select customer_id, concat(cast(least(days, 6) as varchar), '|', cast(floor(4.0 * recency_days / horizon) as varchar)) as stratum from asked
    ) as a on a.customer_id = c.customer_id
),

counted as (
    select
        cause, stratum, cast(sum(case when has_it then 1 else 0 end) as double) as customers, cast(sum(case when has_it and is_silent then 1 else 0 end) as double) as silent,
        cast(sum(case when has_it then 0 else 1 end) as double) as others, cast(sum(case when not has_it and is_silent then 1 else 0 end) as double) as others_silent
    from placed
    group by cause, stratum
),

compared as (
    select cause, sum(customers) as customers, sum(silent) as silent, sum(customers * others_silent / others) as expected
    from counted
    where others > 0
    group by cause
)

select cause, customers, silent, expected, silent / nullif(expected, 0) as lift, silent - expected as excess
from compared
