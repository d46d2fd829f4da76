-- Grain: interaction (visit, ticket, review, share, referral, enrolment). `order_id` where it refers to an order we hold.
-- Changes are told by: record_id, order_id
with numbers as (
    select order_key, min(order_id) as order_id, min(record_id) as order_record_id
    from core__orders
    group by order_key
    having count(*) = 1
)

select
    t.interaction_id, t.record_id, t.source, t.kind, t.occurred_at, t.order_key, n.order_id, n.order_record_id, t.details
from core__touches as t
left join numbers as n on n.order_key = t.order_key
