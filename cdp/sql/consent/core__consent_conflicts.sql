-- Grain: customer × purpose × contact point × decision that says the opposite of the one that decides. For the agent to
-- settle with the person.
with opposing as (
    select customer_id, purpose, contact_point, allowed, decided_by, unnest(string_split(conflicting, ',')) as opposing_id
    from core__customer_consents
    where conflict
)

select
    o.customer_id, o.purpose, o.contact_point, o.allowed, o.decided_by, w.source as decided_source, w.status as decided_status,
    coalesce(w.captured_at, w.received_at) as decided_at, o.opposing_id, d.source as opposing_source, d.status as opposing_status,
    coalesce(d.captured_at, d.received_at) as opposing_at
from opposing as o
join core__consent_decisions as w on w.decision_id = o.decided_by
join core__consent_decisions as d on d.decision_id = o.opposing_id
