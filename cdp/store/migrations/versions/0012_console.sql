-- People who work in the console. A password is kept as an argon2 hash, a session as a hash of its token.
create table store.users (
    user_id uuid primary key,
    name text not null unique check (name = lower(name)),
    password_hash text not null,
    roles text[] not null,
    language text not null default 'en',
    created_at timestamptz not null,
    disabled_at timestamptz,
    failed integer not null default 0,              -- sign-ins in a row that failed
    locked_until timestamptz
);

create table store.sessions (
    token_hash text primary key,
    user_id uuid not null references store.users on delete cascade,
    created_at timestamptz not null,
    seen_at timestamptz not null,
    recent uuid[] not null default '{}'             -- customers looked at, the newest first
);
create index on store.sessions (user_id);

-- For some minutes a session sees a customer's values unmasked, for a reason that the audit log holds.
create table store.reveals (
    token_hash text not null references store.sessions on delete cascade,
    customer_id uuid not null,
    until timestamptz not null,
    reason text not null,
    primary key (token_hash, customer_id)
);

-- What agents wrote about a person, and flags that others must see. Both belong to a record, so that a split takes them along.
create table store.notes (
    note_id uuid primary key,
    record_id text not null,
    flag text check (flag in ('deceased', 'fraud', 'legal_hold', 'vulnerable')),
    text text not null,
    author text not null,
    at timestamptz not null,
    removed_at timestamptz,
    removed_by text
);
create index on store.notes (record_id);

-- Every name that a contact record gives, once, as far as an index takes it: `letters` is the name in a-z (pinyin for
-- Chinese), `characters` each of its characters. A name goes when the last record that gives it goes.
create extension if not exists pg_trgm schema store;
create table store.names (
    name text primary key,
    letters text not null,
    characters text[] not null
);
create index on store.names using gin (letters store.gin_trgm_ops);
create index on store.names using gin (characters);
create function store.name_of(fields jsonb) returns text language sql immutable parallel safe as
$$ select left(fields ->> 'full_name', 200) $$;
create index contact_records_name on store.contact_records (store.name_of(fields));

create function store.keep_names() returns trigger language plpgsql security definer set search_path = store, pg_temp as
$$ begin
    insert into names
    select distinct on (name_of(fields)) name_of(fields), left(fields ->> 'full_key', 400), string_to_array(name_of(fields), null)
    from arrived where fields ->> 'full_name' is not null and fields ->> 'full_key' is not null
    on conflict do nothing;
    return null;
end $$;
create function store.drop_names() returns trigger language plpgsql security definer set search_path = store, pg_temp as
$$ begin
    delete from names n using (select distinct name_of(fields) as name from gone) g
    where n.name = g.name and not exists (select 1 from contact_records r where name_of(r.fields) = g.name);
    return null;
end $$;
create trigger names_arrive after insert on store.contact_records referencing new table as arrived
    for each statement execute function store.keep_names();
create trigger names_change after update on store.contact_records referencing new table as arrived
    for each statement execute function store.keep_names();
create trigger names_leave after update on store.contact_records referencing old table as gone
    for each statement execute function store.drop_names();
create trigger names_go after delete on store.contact_records referencing old table as gone
    for each statement execute function store.drop_names();

insert into store.names
select distinct on (store.name_of(fields)) store.name_of(fields), left(fields ->> 'full_key', 400),
    string_to_array(store.name_of(fields), null)
from store.contact_records where fields ->> 'full_name' is not null and fields ->> 'full_key' is not null;

-- What an agent corrects is a change set of its own, with the record that it made.
alter table store.changesets drop constraint changesets_kind_check;
alter table store.changesets add constraint changesets_kind_check check (kind in ('merge', 'split', 'review', 'undo', 'edit'));

create index on store.ledger_approvals (asked_at) where decided_at is null;
