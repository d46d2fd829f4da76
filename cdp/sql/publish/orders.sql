-- Grain: order, as served. `lines_hash` stands for its lines, which are put together only for orders that differ.
with lines as (
    select order_id, cast(sum(hash(line_no, sku, name, quantity, unit_price, amount)) as varchar) as lines_hash
    from core__order_lines
    group by order_id
)

select
    o.order_id, o.record_id, o.source, o.kind, o.ordered_at, o.currency, o.total,
    cast(to_json({'order_key': o.order_key, 'original_order_id': o.original_order_id, 'original_key': o.original_key,
        'points_redeemed': o.points_redeemed}) as varchar) as details,
    l.lines_hash
from core__orders as o
join lines as l on l.order_id = o.order_id
