-- Grain: order (a sale or a return) as one source knows it. `original_order_id` ties a return to its sale: the order of
-- that number in the same source, else the only one of that number anywhere.
-- Changes are told by: record_id, order_id, original_order_id
with headers as (
    select
        source || ':' || order_key as order_id, source, order_key,
        min(record_id) as record_id, min(ordered_at) as ordered_at, min(currency) as currency,
        min(original_key) as original_key, max(points_redeemed) as points_redeemed,
        case when bool_or(is_refund) or max(quantity) < 0 then 'return' else 'sale' end as kind,
        cast(sum(quantity * unit_price - discount) as decimal(28, 4)) as total,
        count(*) as lines
    from core__order_rows
    group by source, order_key
),

sales as (
    select order_id, source, order_key, count(*) over (partition by order_key) as namesakes
    from headers
    where kind = 'sale'
),

singular as (
    select order_id, order_key from sales where namesakes = 1
),

tied as (
    select *, case when kind = 'return' then original_key end as sale_key from headers
)

select
    h.order_id, h.source, h.order_key, h.record_id, h.kind, h.ordered_at, h.currency, h.total, h.lines,
    h.points_redeemed, h.original_key, coalesce(own.order_id, other.order_id) as original_order_id
from tied as h
left join sales as own on own.order_key = h.sale_key and own.source = h.source
left join singular as other on other.order_key = h.sale_key
