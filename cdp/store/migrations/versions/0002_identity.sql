-- Stewardship: what people decided about pairs of records. A decision is obeyed by every later run until it is revoked.
create table store.changesets (
    changeset_id uuid primary key,
    kind text not null check (kind in ('merge', 'split', 'review', 'undo')),
    at timestamptz not null,
    actor text not null,
    reason text not null,
    moves jsonb not null,
    undoes uuid references store.changesets,
    undone_by uuid references store.changesets
);

create table store.link_decisions (
    decision_id uuid primary key,
    changeset_id uuid not null references store.changesets,
    left_id text not null,
    right_id text not null check (left_id < right_id),
    verdict text not null check (verdict in ('same', 'different', 'unsure')),
    weight double precision,
    at timestamptz not null,
    actor text not null,
    reason text not null,
    revoked_by uuid references store.changesets
);
create index on store.link_decisions (left_id);
create index on store.link_decisions (right_id);
create index on store.link_decisions (changeset_id);

-- Borderline pairs, ranked by what they would move. Written by the pipeline.
create table store.review_pairs (
    left_id text not null,
    right_id text not null,
    weight double precision not null,
    impact double precision not null,
    details jsonb not null,
    primary key (left_id, right_id)
);
create index on store.review_pairs (impact desc);

-- What live resolution compares: the values of every payload and its blocking keys.
create table store.payloads (
    record_id text primary key,
    compared jsonb not null,
    keys bigint[] not null,
    row_hash text not null
);
create index on store.payloads using gin (keys);

-- Homes, a second entity over the same evidence; never mixed with who is who.
create table store.households (
    record_id text primary key,
    household_id text not null,
    row_hash text not null
);
create index on store.households (household_id);
