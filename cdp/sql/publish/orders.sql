-- Grain: order with its lines, as served.
with lines as (
    select order_id, line_no,
        cast(to_json({'line_no': line_no, 'sku': sku, 'name': name, 'quantity': quantity,
            'unit_price': cast(unit_price as varchar), 'amount': cast(amount as varchar)}) as varchar) as line
    from core__order_lines
),

bundles as (
    select order_id, '[' || string_agg(line, ', ' order by line_no) || ']' as lines
    from lines
    group by order_id
)

select
    o.order_id, o.record_id, o.source, o.kind, o.ordered_at, o.currency, o.total,
    cast(to_json({'order_key': o.order_key, 'original_order_id': o.original_order_id, 'original_key': o.original_key,
        'points_redeemed': o.points_redeemed, 'lines': cast(l.lines as json)}) as varchar) as details
from core__orders as o
join bundles as l on l.order_id = o.order_id
