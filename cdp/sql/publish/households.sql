-- Grain: contact record of a customer who shares a home, as served.
select record_id, household_id
from core__households
