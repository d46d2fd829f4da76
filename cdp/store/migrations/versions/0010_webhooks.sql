-- Who is called when something changes: each goes through the change feed by itself, one change after the other.
create table store.webhooks (
    webhook_id uuid primary key,
    name text not null unique,
    url text not null,
    types text[],                                   -- of changes; all where null
    generation int not null default 1,              -- of its secret, which is derived and stored nowhere
    oldest int not null default 1,                  -- generation from which on secrets sign, until
    old_until timestamptz,                          -- this moment; then the present one alone
    position bigint not null,                       -- of the change feed: what stands up to here is delivered or given up
    attempts int not null default 0,                -- at the change after it
    next_at timestamptz not null,                   -- not before
    leased_until timestamptz not null,              -- a sender has it until then
    failing_since timestamptz,
    last_error text,
    delivered_at timestamptz,
    disabled_at timestamptz,
    created_at timestamptz not null
);

-- What was tried as often as the schedule says and never taken.
create table store.webhook_dead_letters (
    webhook_id uuid not null references store.webhooks on delete cascade,
    position bigint not null references store.changes (position) on delete cascade,
    error text not null,
    died_at timestamptz not null,
    replay_at timestamptz,                          -- somebody asked to send it once more
    primary key (webhook_id, position)
);
create index on store.webhook_dead_letters (position);
