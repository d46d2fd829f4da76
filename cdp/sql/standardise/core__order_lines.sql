-- Grain: order line. `amount` = quantity × unit price − discount, in the order's currency; negative is a return.
select
    source || ':' || order_key as order_id,
    row_number() over (partition by source, order_key order by line_no, file, file_line) as line_no,
    sku, name, quantity, unit_price, discount,
    cast(quantity * unit_price - discount as decimal(28, 4)) as amount
from core__order_rows
