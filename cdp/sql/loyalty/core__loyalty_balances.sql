-- Grain: customer. Points balance as the ledger has it, through the present assignment.
select c.customer_id, e.programme, e.unit, sum(e.amount) as balance, count(*) as entries, max(e.occurred_at) as last_entry_at
from core__ledger_entries as e
join core__record_customers as c on c.record_id = e.record_id
group by c.customer_id, e.programme, e.unit
