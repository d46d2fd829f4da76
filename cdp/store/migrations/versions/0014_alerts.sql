-- What was told to people who operate the platform: one row from the moment it is wrong until it is well again.
create table store.alerts (
    alert_id bigint generated always as identity primary key,
    rule text not null,
    subject text not null,
    text text not null,
    since timestamptz not null,                     -- when the pipeline knew
    first_sent_at timestamptz not null,
    sent_at timestamptz not null,
    times integer not null default 1,
    over_at timestamptz
);
create unique index on store.alerts (rule, subject) where over_at is null;

create table store.kpis (
    name text primary key,
    value double precision,
    at timestamptz not null
);
