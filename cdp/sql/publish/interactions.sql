-- Grain: interaction, as served.
select interaction_id, record_id, source, kind, occurred_at,
    cast(to_json({'order_id': order_id, 'details': cast(details as json)}) as varchar) as details
from core__interactions
