-- Grain: interaction, as served: those of known customers. The long tail of anonymous visits stays in the lake, and
-- follows when its visitor becomes known.
select
    i.interaction_id, i.record_id, i.source, i.kind, i.occurred_at,
    cast(to_json({'order_id': i.order_id, 'details': cast(i.details as json)}) as varchar) as details
from core__interactions as i
join core__record_customers as r on r.record_id = i.record_id
join core__customers as c on c.customer_id = r.customer_id
where c.kind = 'known'
