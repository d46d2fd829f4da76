-- Grain: touch of a customer: a visit, an order, a return, a ticket, a review, a share or a referral, in the order of the customer's
-- journey. `touch` names the kind and the channel.
with touches as (
    select customer_id, started_at as touched_at, channel, 'visit' as kind, false as is_order from core__sessions where orders = 0
    union all
    select c.customer_id, o.ordered_at as touched_at, o.source as channel, case when o.kind = 'sale' then 'order' else 'return' end as kind, o.kind = 'sale' as is_order
    from core__orders as o
    join core__record_customers as c on c.record_id = o.record_id
    cross join core__insight_terms as t
    where o.ordered_at <= t.as_of
    union all
    select c.customer_id, i.occurred_at as touched_at, i.source as channel,
        case i.kind when 'ticket' then 'ticket' when 'Product Reviewed' then 'review' when 'Product Shared' then 'share' else 'referral' end as kind, false as is_order
    from core__interactions as i
    join core__record_customers as c on c.record_id = i.record_id
    cross join core__insight_terms as t
    where i.kind in ('ticket', 'Product Reviewed', 'Product Shared', 'Friend Referred') and i.occurred_at <= t.as_of
)

select
    customer_id, touched_at, channel, kind, is_order, kind || ' ' || channel as touch,
    row_number() over (partition by customer_id order by touched_at, kind, channel) as nth,
    sum(case when is_order then 1 else 0 end) over (
        partition by customer_id order by touched_at, kind, channel rows between unbounded preceding and 1 preceding
    ) as orders_before
from touches
