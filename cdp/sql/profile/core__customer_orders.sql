-- Grain: customer × currency. Orders, returns and what was spent; money is never summed across currencies.
select
    c.customer_id, o.currency,
    sum(case when o.kind = 'sale' then 1 else 0 end) as orders,
    sum(case when o.kind = 'return' then 1 else 0 end) as returns,
    sum(o.total) as spent,
    min(o.ordered_at) as first_order_at, max(o.ordered_at) as last_order_at
from core__orders as o
join core__record_customers as c on c.record_id = o.record_id
group by c.customer_id, o.currency
