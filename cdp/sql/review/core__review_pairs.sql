-- Grain: pair of customers that borderline evidence would join, under their likeliest pair of records; ranked by what a
-- decision would move. `impact` = uncertainty (1 at even odds, 0 where the model is sure)
-- × (1 + points + 10 × spend + 50 × consent flags that differ) of the smaller side. Spend is counted in orders of average size in
-- its own currency, so that currencies add up without a rate.
with numbered as (
    select node, min(record_id) as record_id
    from core__payloads
    group by node
),

likely as (
    select
        least(a.record_id, b.record_id) as left_id, greatest(a.record_id, b.record_id) as right_id, s.weight,
        1 / (1 + power(2, -s.weight)) as p
    from core__scored_pairs as s
    join numbered as a on a.node = s.l
    join numbered as b on b.node = s.r
    where s.weight between -2 and 6
),

placed as (
    select k.left_id, k.right_id, k.weight, k.p, a.customer_id as left_customer, b.customer_id as right_customer
    from likely as k
    join core__record_customers as a on a.record_id = k.left_id
    join core__record_customers as b on b.record_id = k.right_id
    left join core__steward_links as d on d.left_id = k.left_id and d.right_id = k.right_id
    where d.left_id is null and a.customer_id <> b.customer_id
),

best as (
    select * from placed
    qualify row_number() over (
        partition by least(left_customer, right_customer), greatest(left_customer, right_customer)
        order by weight desc, left_id, right_id
    ) = 1
),

points as (
    select customer_id, sum(balance) as points from core__loyalty_balances group by customer_id
),

average as (
    select currency, sum(cast(spent as double)) / nullif(sum(orders), 0) as spent from core__customer_orders group by currency
),

orders as (
    select o.customer_id, sum(case when a.spent > 0 then greatest(o.spent, 0) / a.spent else o.orders end) as worth,
        string_agg(o.currency || ' ' || o.spent, ', ' order by o.currency) as spent
    from core__customer_orders as o
    left join average as a on a.currency = o.currency
    group by o.customer_id
),

allowed as (
    select customer_id, purpose, bool_and(allowed) as allowed from core__customer_consents group by customer_id, purpose
),

conflicts as (
    select b.left_id, b.right_id, count(*) as conflicts
    from best as b
    join allowed as l on l.customer_id = b.left_customer
    join allowed as r on r.customer_id = b.right_customer and r.purpose = l.purpose and r.allowed <> l.allowed
    group by b.left_id, b.right_id
)

select
    b.left_id, b.right_id, b.weight, b.left_customer, b.right_customer,
    cast((1 - abs(2 * b.p - 1)) * (
        1 + least(coalesce(pl.points, 0), coalesce(pr.points, 0)) + 10 * least(coalesce(ol.worth, 0), coalesce(o_r.worth, 0))
        + 50 * coalesce(c.conflicts, 0)
    ) as double) as impact,
    coalesce(pl.points, 0) as left_points, coalesce(pr.points, 0) as right_points,
    coalesce(ol.spent, '') as left_spent, coalesce(o_r.spent, '') as right_spent,
    coalesce(c.conflicts, 0) as consent_conflicts
from best as b
left join points as pl on pl.customer_id = b.left_customer
left join points as pr on pr.customer_id = b.right_customer
left join orders as ol on ol.customer_id = b.left_customer
left join orders as o_r on o_r.customer_id = b.right_customer
left join conflicts as c on c.left_id = b.left_id and c.right_id = b.right_id
