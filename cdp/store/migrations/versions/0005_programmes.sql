-- What a programme gives besides units, each belonging to a contact record; all of it is dated and nothing is deleted.
alter table store.ledger_entries
    add column details jsonb;                          -- of an earning: the level held and what each rule gave; both stand

-- Paid plans: what happened to a subscription; its status at a moment follows from these.
create table store.plan_events (
    event_id uuid primary key,
    subscription_id uuid not null,
    record_id text not null,
    programme text not null,
    plan text not null,
    kind text not null check (kind in ('start', 'renew', 'cancel', 'refund')),
    at timestamptz not null,
    amount numeric(18, 4) not null default 0,          -- paid, or given back as a negative amount
    reason text not null,
    actor text not null,
    posted_at timestamptz not null
);
create index on store.plan_events (record_id);
create index on store.plan_events (subscription_id);

-- People who share a plan's benefits or a pool of units: an explicit invitation that the other side accepts.
create table store.circle_events (
    event_id uuid primary key,
    circle_id uuid not null,
    record_id text not null,
    programme text not null,
    kind text not null check (kind in ('found', 'invite', 'accept', 'leave')),
    at timestamptz not null,
    actor text not null,
    posted_at timestamptz not null
);
create index on store.circle_events (record_id);
create index on store.circle_events (circle_id);

-- Rewards taken, coupons issued, benefits used. `undone_at`: given back.
create table store.grants (
    grant_id uuid primary key,
    record_id text not null,
    programme text not null,
    kind text not null check (kind in ('reward', 'coupon', 'benefit')),
    offer text not null,
    at timestamptz not null,
    expires_at timestamptz,
    code text unique,                                  -- a coupon's secret
    order_id text,
    used_at timestamptz,
    undone_at timestamptz,
    cost jsonb not null default '{}',                  -- unit → amount, as it was paid
    counted boolean not null default false,            -- whether it took one of a limited offer
    reason text not null,
    actor text not null
);
create index on store.grants (record_id);
create index on store.grants (programme, kind, offer);

-- How many of a limited offer have been taken: one row that takers queue at.
create table store.offers (
    programme text not null,
    kind text not null,
    offer text not null,
    taken bigint not null default 0 check (taken >= 0),
    primary key (programme, kind, offer)
);

-- Who invited whom. A claim rewards both once the invited person has bought; the reward follows what was bought, not the claim.
create table store.referral_codes (
    code text primary key,
    record_id text not null,
    programme text not null,
    created_at timestamptz not null,
    actor text not null,
    unique (record_id, programme)
);
create table store.referrals (
    referral_id uuid primary key,
    code text not null,
    referrer_record text not null,
    referred_record text not null unique,
    programme text not null,
    at timestamptz not null,
    actor text not null
);
create index on store.referrals (referrer_record);

-- What a till may spend while it is offline: a limit, not a reservation. What it did is posted when it is back.
create table store.till_allowances (
    allowance_id uuid primary key,
    record_id text not null,
    programme text not null,
    unit text not null,
    till text not null,
    amount bigint not null check (amount > 0),
    granted_at timestamptz not null,
    expires_at timestamptz not null,
    actor text not null
);
create index on store.till_allowances (record_id);
create table store.till_spends (
    transaction_id uuid primary key,
    allowance_id uuid not null references store.till_allowances,
    amount bigint not null check (amount > 0),
    at timestamptz not null,
    received_at timestamptz not null,
    order_id text
);
create index on store.till_spends (allowance_id);

-- A debit changes what remains of a lot and the balance of an account: no index may look at either, and a page keeps room
-- for the new version, so that the old one is pruned where it stands.
drop index store.ledger_lots_expires_at_idx;
drop index store.ledger_lots_account_id_idx;
create index on store.ledger_lots (account_id, expires_at);
create index on store.ledger_lots (expires_at) where expires_at is not null;
alter table store.ledger_lots set (fillfactor = 70);
alter table store.ledger_accounts set (fillfactor = 70);
