-- What is derived from customers and told when it changes. The follower reads the change feed and looks at everybody now and then.
create table store.derived_state (
    one boolean primary key default true check (one),
    position bigint not null default 0,             -- of the change feed: looked at up to here
    rules text not null default '',                 -- fingerprint of what was looked for
    sweep_after uuid,                               -- everybody up to here was looked at in this sweep
    sweeping boolean not null default true,
    swept_at timestamptz                            -- when the last sweep began that came to its end
);
insert into store.derived_state (position) select coalesce(max(position), 0) from store.changes; -- the first sweep sees everybody

create table store.audience_members (
    audience text not null,
    customer_id uuid not null,
    since timestamptz not null,
    primary key (audience, customer_id)
);
create index on store.audience_members (customer_id);

create table store.customer_tiers (
    customer_id uuid primary key,
    tier text not null,
    since timestamptz not null
);
