-- What is measured of a customer, as the last run found it: no row, nothing is known or nothing may be.
create table store.customer_scores (
    customer_id uuid primary key references store.customers (customer_id),
    scores jsonb not null,                          -- with its segments, and the version of each model behind it
    scored_at timestamptz not null,                 -- since when they are these
    row_hash text not null
);

-- Figures over everybody, for the manager's page: no row names a person.
create table store.insight (
    name text primary key,
    figures jsonb not null,
    made_at timestamptz not null
);
