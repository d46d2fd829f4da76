-- Grain: contact record × identifier that can identify somebody, as served.
select record_id, type, value, first_seen, last_seen
from core__record_identifiers
where not blocked
