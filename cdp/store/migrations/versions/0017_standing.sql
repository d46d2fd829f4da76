-- Counts statements that may have changed what a run reads: all but those of runs, which read what they write.
-- A sequence, because it is never taken back: a count that is the same means that nobody wrote.
create sequence store.touches;
select setval('store.touches', 1);  -- one that was never used shows the same before and after its first use

create function store.touch() returns trigger language plpgsql security definer set search_path = store, pg_temp as $$
begin
    if coalesce(current_setting('cdp.run', true), '') = '' then
        perform nextval('store.touches');
    end if;
    return null;
end $$;

-- Left out: what changes nothing that a run makes (it keeps or tidies them), or what has a look of its own (files, events).
-- A later table says itself which it is.
do $$
declare one record;
begin
    for one in
        select tablename from pg_tables where schemaname = 'store' and tablename <> all (array[
            'alembic_version', 'alerts', 'api_keys', 'audience_members', 'audit_seals', 'changes', 'customer_tiers', 'derived_state',
            'idempotency_keys', 'inbox', 'landed_files', 'releases', 'sessions', 'webhook_dead_letters', 'webhooks'
        ])
    loop
        execute 'create trigger touched after insert or update or delete or truncate on store.' || quote_ident(one.tablename)
            || ' for each statement execute function store.touch()';
    end loop;
end $$;

-- How the last run that ended well left things; no row while a run is under way, or after one that failed.
create table store.standing (
    only_one boolean primary key default true check (only_one),
    run_id text not null,
    as_of timestamptz not null,
    finished_at timestamptz not null,
    touches bigint not null,
    snapshot_id bigint not null,
    rules text not null
);
