-- Consent as evidence: what a decision rests on, and when the store learned of it (`recorded_at`), which is what
-- "what did we know then" asks for.
alter table store.consent_decisions disable trigger append_only;
alter table store.consent_decisions
    add column basis text not null default 'consent',
    add column jurisdiction text,
    add column expires_at timestamptz,
    add column confirmed_at timestamptz,
    add column separate_consent text,
    add column is_explicit boolean not null default true,
    add column actor text not null default 'pipeline',
    add column recorded_at timestamptz;
update store.consent_decisions set recorded_at = received_at;
alter table store.consent_decisions alter column recorded_at set not null;
alter table store.consent_decisions alter column evidence drop not null;
alter table store.consent_decisions enable trigger append_only;
create index on store.consent_decisions (actor) where actor <> 'pipeline';

-- Append-only, but for erasure, which has to say so in its transaction. Only the owner may: the API's role holds no right
-- to update or delete here.
create or replace function store.refuse_change_unless_erasing() returns trigger language plpgsql as
$$ begin
    if current_setting('cdp.erasing', true) = 'yes' then
        return case when tg_op = 'DELETE' then old else new end;
    end if;
    raise exception using message = tg_table_name || ' is append-only', errcode = 'integrity_constraint_violation';
end $$;
drop trigger append_only on store.ledger_entries;
drop trigger append_only on store.consent_decisions;
drop trigger append_only on store.assignment_history;
create trigger append_only before update or delete on store.ledger_entries
    for each row execute function store.refuse_change_unless_erasing();
create trigger append_only before update or delete on store.consent_decisions
    for each row execute function store.refuse_change_unless_erasing();
create trigger append_only before update or delete on store.assignment_history
    for each row execute function store.refuse_change_unless_erasing();

-- An account's id names its record; an erased person's account gets another name and is closed: its entries stay.
alter table store.ledger_accounts add column closed_at timestamptz;
alter table store.ledger_entries drop constraint ledger_entries_account_id_fkey,
    add foreign key (account_id) references store.ledger_accounts on update cascade;
alter table store.ledger_lots drop constraint ledger_lots_account_id_fkey,
    add foreign key (account_id) references store.ledger_accounts on update cascade;
alter table store.ledger_deficits drop constraint ledger_deficits_account_id_fkey,
    add foreign key (account_id) references store.ledger_accounts on update cascade;

-- What a key may read for: purposes of the consent policy.
alter table store.api_keys add column purposes text[] not null default '{service}';

-- The audit log: who did or saw what, never the values themselves. Rows are sealed in batches into a chain of hashes.
alter table store.audit_log alter column key_id drop not null;
alter table store.audit_log
    add column actor text not null default '',
    add column purpose text,
    add column reason text,
    add column details jsonb;
create index on store.audit_log (customer_id, audit_id);
create table store.audit_seals (
    seal_id bigint primary key,
    first_id bigint not null,
    last_id bigint not null,
    rows bigint not null,
    previous text not null,
    hash text not null,
    sealed_at timestamptz not null
);
create trigger append_only before update or delete on store.audit_seals
    for each row execute function store.refuse_change();

create table store.privacy_requests (
    request_id uuid primary key,
    kind text not null check (kind in ('access', 'portability', 'rectification', 'restriction', 'objection', 'erasure')),
    customer_id uuid not null,
    status text not null check (status in ('received', 'verified', 'running', 'done', 'refused', 'failed')),
    jurisdiction text not null,
    received_at timestamptz not null,
    due_at timestamptz not null,
    extended_reason text,
    proof text,
    verified_at timestamptz,
    verified_by text,
    finished_at timestamptz,
    outcome text,
    actor text not null,
    details jsonb not null
);
create index on store.privacy_requests (customer_id);
create unique index one_erasure_at_a_time on store.privacy_requests (customer_id)
    where kind = 'erasure' and status in ('received', 'verified', 'running');

create table store.privacy_steps (
    request_id uuid not null references store.privacy_requests,
    system text not null,
    status text not null check (status in ('pending', 'running', 'done', 'failed', 'skipped')),
    at timestamptz not null,
    details jsonb not null,
    primary key (request_id, system)
);

-- One-click unsubscribe (RFC 8058): the link holds the token alone, never an address.
create table store.unsubscribe_links (
    token text primary key,
    purpose text not null,
    subject_type text not null check (subject_type in ('email', 'phone')),
    subject text not null
);
alter table store.customers add column erased_at timestamptz;
