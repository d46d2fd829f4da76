-- A key has a limit of its own; while it is changed for another one, both texts hold.
alter table store.api_keys
    add column rate_limit integer not null default 12000 check (rate_limit > 0),   -- calls a minute
    add column old_prefix text unique,
    add column old_hash text,
    add column old_until timestamptz;
