-- The store: what is served and what is written online. Every table that the pipeline publishes carries
-- row_hash, the fingerprint of the row in the lake, so that publishing costs what changed.

create table store.contact_records (
    record_id text primary key,
    source text not null,
    kind text not null,
    source_key text not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    link_weight double precision not null,
    fields jsonb not null,
    row_hash text not null
);

create table store.identifiers (
    record_id text not null,
    type text not null,
    value text not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    row_hash text not null,
    primary key (record_id, type, value)
);
create index on store.identifiers (type, value);

create table store.customers (
    customer_id uuid primary key,
    created_at timestamptz not null,
    retired_at timestamptz,
    merged_into uuid references store.customers
);

-- The authority for who is who: one row a record, its history beside it.
create table store.assignment (
    record_id text primary key,
    customer_id uuid not null references store.customers,
    position bigint not null
);
create index on store.assignment (customer_id);

create table store.assignment_history (
    position bigint generated always as identity primary key,
    record_id text not null,
    customer_id uuid,
    previous_customer_id uuid,
    at timestamptz not null,
    run_id text not null,
    reason text not null
);
create index on store.assignment_history (record_id);
create index on store.assignment_history (previous_customer_id);

create table store.edges (
    left_id text not null,
    right_id text not null,
    type text not null,
    kind text not null check (kind in ('exact', 'rule', 'probabilistic', 'steward')),
    weight double precision not null,
    model_version text not null,
    evidence jsonb not null,
    row_hash text not null,
    primary key (left_id, right_id, type)
);
create index on store.edges (right_id);

create table store.profiles (
    customer_id uuid primary key,
    kind text not null check (kind in ('known', 'anonymous')),
    profile jsonb not null,
    row_hash text not null
);

create table store.orders (
    order_id text primary key,
    record_id text,
    source text not null,
    kind text not null check (kind in ('sale', 'return')),
    ordered_at timestamptz not null,
    currency text not null,
    total numeric not null,
    details jsonb not null,
    row_hash text not null
);
create index on store.orders (record_id, ordered_at);

create table store.interactions (
    interaction_id text primary key,
    record_id text not null,
    source text not null,
    kind text not null,
    occurred_at timestamptz not null,
    details jsonb not null,
    row_hash text not null
);
create index on store.interactions (record_id, occurred_at);

-- Consent: decisions are added, never changed. The subject is a contact point, else a contact record.
create table store.consent_decisions (
    decision_id text primary key,
    record_id text not null,
    subject_type text not null check (subject_type in ('email', 'phone', 'record')),
    subject text not null,
    purpose text not null,
    status text not null check (status in ('granted', 'denied', 'withdrawn', 'pending', 'expired', 'unknown')),
    captured_at timestamptz,
    received_at timestamptz not null,
    source text not null,
    method text not null,
    notice_version text,
    evidence jsonb not null
);
create index on store.consent_decisions (record_id);
create index on store.consent_decisions (subject_type, subject);

-- Loyalty: accounts belong to records, entries never move and never change; lots and allocations are derived.
create table store.ledger_accounts (
    account_id text primary key,
    record_id text not null,
    programme text not null,
    unit text not null,
    opened_at timestamptz not null,
    unique (record_id, programme, unit)
);

create table store.ledger_entries (
    entry_id uuid primary key,
    account_id text not null references store.ledger_accounts,
    kind text not null check (kind in ('earn', 'redeem', 'clawback', 'adjust', 'expire', 'reversal')),
    amount bigint not null,
    occurred_at timestamptz not null,
    posted_at timestamptz not null,
    posting_key text not null,
    revision integer not null,
    order_id text,
    original_order_id text,
    programme_version text not null,
    reason text not null,
    actor text not null
);
create index on store.ledger_entries (account_id, occurred_at);
create index on store.ledger_entries (posting_key);

create table store.ledger_lots (
    entry_id uuid primary key references store.ledger_entries,
    account_id text not null references store.ledger_accounts,
    amount bigint not null check (amount > 0),
    remaining bigint not null check (remaining between 0 and amount),
    occurred_at timestamptz not null,
    expires_at timestamptz
);
create index on store.ledger_lots (account_id) where remaining > 0;

create table store.ledger_allocations (
    debit_id uuid not null references store.ledger_entries,
    lot_id uuid not null references store.ledger_lots,
    amount bigint not null check (amount > 0),
    primary key (debit_id, lot_id)
);

-- What a debit took beyond its account's open lots; later credits absorb it.
create table store.ledger_deficits (
    debit_id uuid primary key references store.ledger_entries,
    account_id text not null references store.ledger_accounts,
    amount bigint not null check (amount > 0)
);
create index on store.ledger_deficits (account_id);

create function store.refuse_change() returns trigger language plpgsql as
$$ begin raise exception using message = tg_table_name || ' is append-only', errcode = 'integrity_constraint_violation'; end $$;
create trigger append_only before update or delete on store.ledger_entries
    for each row execute function store.refuse_change();
create trigger append_only before update or delete on store.consent_decisions
    for each row execute function store.refuse_change();
create trigger append_only before update or delete on store.assignment_history
    for each row execute function store.refuse_change();

-- The change feed: a row is written with its change; the sequencer gives its position after commit.
create table store.changes (
    change_id bigint generated always as identity primary key,
    position bigint unique,
    type text not null,
    customer_id uuid,
    details jsonb not null,
    at timestamptz not null
);
create index on store.changes (change_id) where position is null;

create table store.releases (
    release_id bigint generated always as identity primary key,
    run_id text not null,
    snapshot_id bigint not null,
    as_of timestamptz not null,
    finished_at timestamptz not null
);

create table store.api_keys (
    key_id uuid primary key,
    name text not null unique,
    prefix text not null unique,
    hash text not null,
    scopes text[] not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);

-- Who saw what: written before the answer, never the values themselves.
create table store.audit_log (
    audit_id bigint generated always as identity primary key,
    at timestamptz not null,
    key_id uuid not null,
    action text not null,
    customer_id uuid
);
create trigger append_only before update or delete on store.audit_log
    for each row execute function store.refuse_change();
