-- Grain: customer × channel × currency × day (of the tenant's time zone) with a purchase or a return. A channel is the source
-- that recorded the order. `sales` before returns, `returned` is negative, `discounted` is what was spent on lines with a discount.
with lines as (
    select order_id, sum(case when discount > 0 then amount else 0 end) as discounted
    from core__order_lines
    group by order_id
)

select
    c.customer_id, o.source as channel, o.currency, cast(o.ordered_at at time zone t.timezone as date) as day,
    sum(case when o.kind = 'sale' then 1 else 0 end) as orders, sum(case when o.kind = 'sale' then o.lines else 0 end) as lines,
    sum(case when o.kind = 'sale' then o.total else 0 end) as sales,
    sum(case when o.kind = 'sale' then 0 else o.total end) as returned,
    sum(case when o.kind = 'sale' then l.discounted else 0 end) as discounted
from core__orders as o
join core__record_customers as c on c.record_id = o.record_id
join lines as l on l.order_id = o.order_id
cross join core__insight_terms as t
where o.ordered_at <= t.as_of
group by c.customer_id, o.source, o.currency, cast(o.ordered_at at time zone t.timezone as date)
