-- Each batch of a publish asks who else moved its customers meanwhile: without it that went through all the run itself had moved.
create index on store.assignment_history (customer_id);
