-- The ledger as transactions: a fact has one leg in each account it moves, against one of the programme's own accounts
-- (`contra`), so that every leg is a transfer and the books balance by construction.
alter table store.ledger_accounts
    add column account_no bigint generated always as identity unique,
    add column balance bigint not null default 0,      -- snapshot of its entries; recomputable
    add column version bigint not null default 0,      -- grows with every change
    add column last_at timestamptz;                    -- business time of its latest fact

alter table store.ledger_entries drop constraint ledger_entries_kind_check;
alter table store.ledger_entries
    add constraint ledger_entries_kind_check check (kind in
        ('earn', 'opening', 'redeem', 'clawback', 'restore', 'adjust', 'expire', 'reversal')),
    add column transaction_id uuid,
    add column contra text not null default 'issued' check (contra in ('issued', 'redeemed', 'expired', 'adjusted')),
    add column scope bigint[],                         -- accounts the fact may touch, its own first
    add column reverses text,                          -- posting key of what it gives or takes back
    add column expires_at timestamptz;                 -- of a credit's lot; of a restoration the least it still lives

select set_config('cdp.erasing', 'yes', true);
update store.ledger_entries e set
    transaction_id = md5(posting_key || '#' || revision || case when revision > 0 then '#' || a.record_id else '' end)::uuid,
    contra = case when right(posting_key, 7) = '|redeem' then 'redeemed' else 'issued' end,
    scope = case when e.kind <> 'redeem' then array[a.account_no] end
from store.ledger_accounts a where a.account_id = e.account_id;
select set_config('cdp.erasing', '', true);
alter table store.ledger_entries alter column transaction_id set not null;
create index on store.ledger_entries (transaction_id);
create index on store.ledger_entries (reverses) where reverses is not null;

update store.ledger_accounts a set
    balance = coalesce((select sum(amount) from store.ledger_entries e where e.account_id = a.account_id), 0),
    last_at = (select max(occurred_at) from store.ledger_entries e where e.account_id = a.account_id);

-- What is derived is keyed by transaction; `cdp init` and every run derive anew what does not add up.
drop table store.ledger_allocations;
drop table store.ledger_deficits;
drop table store.ledger_lots;
create table store.ledger_lots (
    lot_id uuid primary key,
    account_id text not null references store.ledger_accounts on update cascade,
    transaction_id uuid not null,
    amount bigint not null check (amount > 0),
    remaining bigint not null check (remaining between 0 and amount),
    occurred_at timestamptz not null,                  -- when it was earned: its vintage
    opened_at timestamptz not null,
    expires_at timestamptz,
    order_id text,
    origin uuid                                        -- the lot whose units it gives back
);
create index on store.ledger_lots (account_id);
create index on store.ledger_lots (expires_at) where remaining > 0 and expires_at is not null;

create table store.ledger_allocations (
    transaction_id uuid not null,
    lot_id uuid not null references store.ledger_lots deferrable initially deferred,
    amount bigint not null check (amount > 0),
    primary key (transaction_id, lot_id)
);
create index on store.ledger_allocations (lot_id);

-- What a debit took beyond open lots; later credits of the account absorb it, the oldest first.
create table store.ledger_deficits (
    transaction_id uuid not null,
    account_id text not null references store.ledger_accounts on update cascade,
    amount bigint not null check (amount > 0),
    occurred_at timestamptz not null,
    primary key (transaction_id, account_id)
);
create index on store.ledger_deficits (account_id);

-- Units set aside for a moment; what is available is computed with the time, no job ends a hold.
create table store.ledger_holds (
    hold_id uuid primary key,
    record_id text not null,
    programme text not null,
    unit text not null,
    amount bigint not null check (amount > 0),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    resolved_at timestamptz,
    resolution text check (resolution in ('captured', 'voided')),
    captured bigint,
    order_id text,
    reason text not null,
    actor text not null
);
create index on store.ledger_holds (record_id) where resolved_at is null;

-- Adjustments above the programme's limit wait here for a second person.
create table store.ledger_approvals (
    approval_id uuid primary key,
    record_id text not null,
    programme text not null,
    unit text not null,
    amount bigint not null,
    reason text not null,
    asked_by text not null,
    asked_at timestamptz not null,
    decided_by text,
    decided_at timestamptz,
    approved boolean
);

-- An answer that was given under an Idempotency-Key is given again to whoever repeats the request.
create table store.idempotency_keys (
    key_id text not null,
    idempotency_key text not null,
    fingerprint text not null,
    status integer not null,
    answer jsonb not null,
    at timestamptz not null,
    primary key (key_id, idempotency_key)
);
create index on store.idempotency_keys (at);
