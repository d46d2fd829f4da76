-- Grain: rule × channel, over the year. Orders credited to the first and to the last touch of their journey; an order without a
-- touch before it is its own channel's. Descriptive: it says what came before an order, not what caused it.
with credited as (
    select 'first' as rule, channel, count(*) as orders from core__touch_steps where is_first and has_bought group by channel
    union all
    select 'last' as rule, channel, count(*) as orders from core__touch_steps where next_channel = '(bought)' group by channel
)

select rule, channel, orders, cast(orders as double) / sum(orders) over (partition by rule) as share
from credited
